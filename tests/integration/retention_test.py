"""Finished segments of a real isod: compressed while it works, read again as if they were not, removed when they are more
than may be kept (the oldest first, nothing uncounted) or older than they are kept (but for what an open incident refers
to), each of it told, counted and shown; of the ledger behind a snapshot, from which a start goes on. What is left verifies."""
import glob
import json
import os
import subprocess

from harness import BUILD, TOP, Isod, check, main, skip
from machine import Machine, available

SETTINGS = """
evidence: {segment_size: 64KiB, keep_size: 1MiB, at_hand: 1ms}
ledger: {segment_size: 64KiB, at_hand: 1ms}
"""
AGES = """
workers: 1
evidence: {segment_size: 64KiB, retention: 1d}
"""
SHORT_LEDGER = """
workers: 1
ledger: {segment_size: 64KiB, keep_size: 1MiB}
snapshot: {interval: 1s, records: 1000}
anchors: {interval: 1s}
"""


def lines(count, start=0):
    return [f"<38>Nov 23 18:00:00 web1 sshd[7]: Failed password for u{n % 9} from 203.0.113.{n % 50} port {n} ssh2 "
            f"{n * 2654435761 % 2**32:x} {n * 40503 % 2**32:x}" for n in range(start, start + count)]


def files(isod, *folder):
    return [name for _, _, names in os.walk(isod.path("state", *folder)) for name in names]


def verify(isod):
    done = subprocess.run([os.path.join(BUILD, "isoctl"), "--json", "ledger", "verify", isod.path("state")],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    report = json.loads(done.stdout)
    check(done.returncode == 0 and report["sound"], f"the ledger is sound: {report}")
    return report


def plain_and_packed(names):
    return [sum(n.endswith(".log") for n in names), sum(n.endswith(".log.zst") for n in names)]


def scenario():
    with Isod(SETTINGS) as isod:
        isod.send("--tcp", lines(6000))
        isod.wait_events(6000, "tcp/")
        isod.wait(lambda: isod.counters()["evidence_segments_compressed"] > 1, "evidence is compressed")
        isod.wait(lambda: isod.counters()["ledger_segments_compressed"] > 1, "the ledger is compressed")
        n = isod.counters()
        check(n["ledger_bytes_compressed_to"] * 2 < n["ledger_bytes_compressed"], f"it is smaller: {n}")
        check(verify(isod)["compressed"] > 1, "verified, compressed or not")
        check(n["evidence_segments_removed"] == 0, "all of it may stay")
        read_again(isod)
        isod.start()
        check(isod.counters()["ingest_frames_redetected"] < 6000, "what was counted is not detected again")
        removed(isod)
        isod.stop()
        verify(isod)
    if available():
        skip(available())
    machine = Machine()
    with Isod(AGES, env=machine.env) as isod:
        by_age(isod, machine)
    with Isod(SHORT_LEDGER) as isod:
        behind_a_snapshot(isod)


def read_again(isod):
    """From a ledger that is mostly compressed comes the same state, after kill -9 too; evidence tells every frame."""
    before = isod.ask("status")[0]
    check(before["events"] >= 6000, before)
    isod.kill()
    isod.start()
    after = isod.ask("status")[0]
    check(after["matches"] >= before["matches"] and after["events"] >= before["events"], f"{before} {after}")
    check(verify(isod)["compressed"] > 1, "still sound")
    isod.stop()


def removed(isod):
    sent = 6000
    while not isod.counters()["evidence_segments_removed"]:
        isod.send("--tcp", lines(6000, sent))
        sent += 6000
        isod.wait_events(sent, "tcp/")
        check(sent < 200000, "evidence is never removed")
        isod.wait(lambda: isod.counters()["evidence_over_keep_size"] == 0, "what is too much is removed")
    n = isod.counters()
    check(n["evidence_segments_removed_early"] > 0 and n["evidence_bytes_removed"] > 0, f"counted: {n}")
    check(n["ledger_segments_removed"] == 0, "no snapshot covers the ledger: it is kept")
    isod.wait(lambda: "removed as retention says" in isod.log(), "logged")
    isod.wait(lambda: isod.ask("status", "--sources"), "sources")
    names = plain_and_packed(files(isod, "evidence"))
    check(sum(names) > 0, "some is left")
    # What is left is read from its beginning.
    done = subprocess.run([os.path.join(BUILD, "isoctl"), "--json", "rules", "backtest", "--rules", os.path.join(TOP, "conf", "rules"),
                           "--evidence", isod.path("state"), "--summary"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(done.returncode == 0 and "frames" in done.stdout, f"{done.stdout[-500:]}{done.stderr[-500:]}")


def firsts(isod, log):
    """The sequences that the log's segments begin with, in whatever form they are."""
    return sorted({int(os.path.basename(f)[:20]) for f in glob.glob(isod.path("state", log, "0*.log*"))
                   if not f.endswith(".tmp")})


def harmless(count, start):
    return [f"<30>Nov 23 18:00:00 web1 app: nothing happens {n} " + "x" * 200 for n in range(start, start + count)]


def harmless_until(isod, condition, what):
    """New records finish segments, and time passes by records too."""
    def step():
        before = isod.events("tcp/")
        isod.send("--tcp", harmless(500, before))
        isod.wait_events(before + 500, "tcp/")
        return condition()
    isod.wait(step, what)


def by_age(isod, machine):
    """Two days pass: what is older than one goes, but nothing from the first frame on that an open incident refers to; when
    the incident is closed that goes too. (The clock is set before isod starts: a jump while it runs would not be believed.)"""
    isod.send("--tcp", harmless(2000, 0))
    isod.wait_events(2000, "tcp/")
    isod.send("--tcp", [f"<38>Nov 23 18:00:00 web1 sshd[7]: Failed password for root from 203.0.113.9 port {n} ssh2" for n in range(30)])
    isod.wait_events(2030, "tcp/")
    isod.wait(lambda: isod.incidents(), "an incident is open")
    number = isod.incidents()[0]["id"]
    refers = isod.ask("incidents", "show", str(number))[0]["evidence"]
    log = f"evidence/{refers[0].get('worker', 0)}"
    wanted = min(e["sequence"] for e in refers)
    isod.send("--tcp", harmless(2000, 5000))
    isod.wait_events(4030, "tcp/")
    isod.stop()
    before = firsts(isod, log)
    check(before[0] == 1 and len(before) > 3 and before[1] <= wanted, f"segments before and behind it: {before} {wanted}")
    machine.clock(2 * 86400)
    isod.start()
    harmless_until(isod, lambda: firsts(isod, log)[0] > 1 and isod.counters()["evidence_removal_waits_for_incident"],
                   "what is too old and not wanted is removed")
    kept = firsts(isod, log)
    check(max(f for f in before if f <= wanted) == kept[0], f"what the incident refers to stays: {wanted} in {kept}")
    n = isod.counters()
    check(n["evidence_segments_removed"] > 0 and n["evidence_segments_removed_early"] == 0, f"for their age: {n}")
    isod.wait(lambda: "removed as retention says" in isod.log(), "logged")
    for i in isod.incidents():
        isod.isoctl("incidents", "close", str(i["id"]), "--as", "true_positive")
    harmless_until(isod, lambda: firsts(isod, log)[0] > wanted, "when it is closed its evidence goes too")
    isod.stop()
    whole(isod)


def behind_a_snapshot(isod):
    """The oldest of the ledger goes once both kept snapshots cover it. What is left is proven by the anchors, and a start
    takes the snapshot: the state is the same."""
    sent = 0
    while len(firsts(isod, "ledger")) < 3 or firsts(isod, "ledger")[0] == 1:
        check(sent < 400000, f"the ledger is never shortened: {firsts(isod, 'ledger')}")
        isod.send("--tcp", lines(4000, sent))
        sent += 4000
        isod.wait_events(sent, "tcp/")
    isod.wait(lambda: {c["name"]: c["value"] for c in isod.status()["counters"]}["ingest_frames_untallied"] == 0, "all is counted")
    before = isod.ask("status")[0]
    isod.stop()
    check(os.path.exists(isod.path("state", "ledger", "begins")), "the ledger tells where it begins")
    told = whole(isod)
    check(told["logs"][0]["first"] > 1 and told["anchors"]["behind"] >= told["logs"][0]["first"] - 1, f"proven: {told}")
    isod.start()
    after = isod.ask("status")[0]
    check("snapshot of record 0," not in isod.log().rsplit("the ledger's state is back", 1)[1].splitlines()[0], "by a snapshot")
    for what in ("matches", "incidents_total"):
        check(after[what] >= before[what], f"{what}: {before[what]} before, {after[what]} after")
    check(isod.events("tcp/") == sent, "every event is counted once")
    isod.kill()
    isod.start()
    check(isod.events("tcp/") == sent, "after kill -9 too")
    isod.stop()
    whole(isod)


def whole(isod):
    done = subprocess.run([os.path.join(BUILD, "isoctl"), "--json", "verify", isod.path("state")],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    report = json.loads(done.stdout)
    check(done.returncode == 0 and report["sound"], f"everything verifies: {report}")
    return report


main(scenario)
