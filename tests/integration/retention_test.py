"""Finished segments of a real isod: compressed while it works, read again as if they were not, removed when they are more
than may be kept (the oldest first, nothing uncounted), each of it told, counted and shown; and what is left verifies."""
import json
import os
import subprocess

from harness import BUILD, TOP, Isod, check, main

SETTINGS = """
evidence: {segment_size: 64KiB, keep_size: 1MiB, at_hand: 1ms}
ledger: {segment_size: 64KiB, at_hand: 1ms}
"""


def lines(count, start=0):
    return [f"<38>Nov 23 18:00:00 web1 sshd[7]: Failed password for u{n % 9} from 203.0.113.{n % 50} port {n} ssh2 "
            f"{n * 2654435761 % 2**32:x} {n * 40503 % 2**32:x}" for n in range(start, start + count)]


def counters(isod):
    return {c["name"]: c.get("value", 0) for c in isod.ask("status")[0]["counters"]}


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
        isod.wait(lambda: counters(isod)["evidence_segments_compressed"] > 1, "evidence is compressed")
        isod.wait(lambda: counters(isod)["ledger_segments_compressed"] > 1, "the ledger is compressed")
        n = counters(isod)
        check(n["ledger_bytes_compressed_to"] * 2 < n["ledger_bytes_compressed"], f"it is smaller: {n}")
        check(verify(isod)["compressed"] > 1, "verified, compressed or not")
        check(n["evidence_segments_removed"] == 0, "all of it may stay")
        read_again(isod)
        isod.start()
        check(counters(isod)["ingest_frames_redetected"] < 6000, "what was counted is not detected again")
        removed(isod)
        isod.stop()
        verify(isod)


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
    while not counters(isod)["evidence_segments_removed"]:
        isod.send("--tcp", lines(6000, sent))
        sent += 6000
        isod.wait_events(sent, "tcp/")
        check(sent < 200000, "evidence is never removed")
        isod.wait(lambda: counters(isod)["evidence_over_keep_size"] == 0, "what is too much is removed")
    n = counters(isod)
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


main(scenario)
