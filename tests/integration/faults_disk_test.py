"""A disk that is full, fails to write, or turns read-only, under evidence and under the ledger: isod stops taking in (peers
feel it, nothing is thrown away), somebody is told through a plugin although the books cannot be written, and it goes on
by itself when the disk does. After a failed fdatasync it ends with a clear message instead, since nobody knows what is
on the disk then; the next start goes on from what is there. Nothing is lost or counted twice in any of it."""
import threading

from harness import Isod, check, main, skip
from machine import Machine, available

LINES = 10000  # several segments
EX_IOERR = 74


def lines(begin, count):
    return [f"<30>Nov 23 18:00:00 web1 app: line {begin + n} that is long enough to fill what there is to be filled "
            + "x" * 200 for n in range(count)]


def guesses(address):
    return [f"<38>Nov 23 18:00:{n:02} web1 sshd[1]: Failed password for root from {address} port 1 ssh2" for n in range(30)]


def configure(isod, receiver):
    isod.escalate(isod.webhook(receiver), """\
  - {name: brute, plugin: oncall, min_level: low, tactics: [credential-access], attempts: 5, backoff: 100ms, backoff_max: 1s}
  - {name: all, plugin: oncall, min_level: high, attempts: 9, backoff: 100ms, backoff_max: 1s}
""")


def alarms(receiver, title):
    return [a for _, a in receiver.alerts if a["incident"]["title"].startswith(title)]


def evidence_of(isod):
    return isod.path("state", "evidence")


def ledger_of(isod):
    return isod.path("state", "ledger")


def recovers(isod, receiver, machine, operation, error, path, what):
    """The fault, a sender meanwhile, the alarm, the end of the fault."""
    before, told = isod.events("tcp/"), len(alarms(receiver, "isod cannot write its books"))
    receiver.answers.append(503)  # the alarm is tried again
    machine.fail(operation, error, path)
    sender = threading.Thread(target=lambda: isod.send("--tcp", lines(before, LINES)))
    sender.start()
    isod.wait(lambda: len(alarms(receiver, "isod cannot write its books")) > told, f"the alarm about {error} on {what}")
    alarm = alarms(receiver, "isod cannot write its books")[-1]
    check(what in alarm["reason"] and alarm["incident"]["severity"] == "critical", f"{alarm}")
    if what == "evidence":
        isod.wait(lambda: any(w["stalled"] for w in isod.status()["workers"]), "the status tells which worker waits")
    check(isod.events("tcp/") < before + LINES, "not everything was taken in")
    machine.heal()
    isod.wait_events(before + LINES, "tcp/")
    sender.join()
    check(not any(w["stalled"] for w in isod.status()["workers"]), "no worker waits any more")


def detects(isod, receiver, address):
    before = isod.events("tcp/")
    isod.send("--tcp", guesses(address))
    isod.wait_events(before + 30, "tcp/")
    isod.wait(lambda: any(e["name"] == address for i in isod.incidents() for e in i["entities"]), "it is detected")


def ends(isod, machine, path, what, receiver):
    """fdatasync fails: isod ends loudly, and starts again from what is there."""
    told = len(alarms(receiver, "isod has ended"))
    before = isod.events("tcp/")
    machine.fail("sync", "EIO", path)
    isod.send("--tcp", lines(before, 100))
    isod.wait(lambda: isod.process.poll() is not None, "isod ends")
    check(isod.process.returncode == EX_IOERR, f"it ended with {isod.process.returncode}")
    check(f"{what} did not reach the disk" in isod.log(), "the log says why")
    check(len(alarms(receiver, "isod has ended")) > told, "and a plugin has told it")
    isod.process = None
    machine.heal()
    isod.start()
    isod.wait(lambda: settled(isod), "re-detection ends")
    check(before <= isod.events("tcp/") <= before + 100, "nothing that was counted is lost, nothing is counted twice")


def settled(isod):
    counters = {c["name"]: c["value"] for c in isod.status()["counters"]}
    return counters["ingest_workers_redetecting"] == 0 and counters["ingest_frames_untallied"] == 0


def scenario():
    if available():
        skip(available())
    machine = Machine()
    # Small segments: new ones are begun all the time, also while files cannot be made.
    settings = "evidence:\n  segment_size: 1MiB\nledger:\n  segment_size: 64KiB\n"
    with Isod(start=False, env=machine.env, settings=settings) as isod:
        receiver = isod.receiver()
        configure(isod, receiver)
        isod.start()
        for operation, error in (("write", "ENOSPC"), ("write", "EIO"), ("write", "EROFS")):
            recovers(isod, receiver, machine, operation, error, evidence_of(isod), "evidence")
            recovers(isod, receiver, machine, operation, error, ledger_of(isod), "the ledger")
        detects(isod, receiver, "203.0.113.1")
        # A new segment cannot be begun: the old one goes on.
        machine.fail("open", "ENOSPC", isod.path("state"))
        before = isod.events("tcp/")
        isod.send("--tcp", lines(before, LINES))
        isod.wait_events(before + LINES, "tcp/")
        machine.heal()
        ends(isod, machine, evidence_of(isod), "evidence", receiver)
        ends(isod, machine, ledger_of(isod), "the ledger", receiver)
        detects(isod, receiver, "203.0.113.2")
        isod.stop()
        isod.isoctl("ledger", "verify", ledger_of(isod))
        check(not receiver.bad, "every signature was right")
        receiver.close()


main(scenario)
