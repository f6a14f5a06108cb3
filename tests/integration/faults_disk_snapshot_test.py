"""The disk is full just where snapshots are written: isod goes on taking in and detecting, an incident tells of it and goes out
through a plugin, and the next snapshot that there is room for is good."""
from harness import Isod, check, main, skip
from machine import Machine, available

LINES = 3000


def counter(isod, name):
    return {c["name"]: c["value"] for c in isod.status()["counters"]}.get(name, 0)


def matching(isod):
    """Each line is a match, and so a record of the ledger."""
    before = isod.events("tcp/")
    isod.send("--tcp", [f"<38>Nov 23 18:00:00 web1 sshd[1]: Failed password for root from 203.0.113.{n % 9} port 1 ssh2"
                        for n in range(LINES)])
    isod.wait_events(before + LINES, "tcp/")


def of_snapshots(incident):
    return any("Snapshot" in r["title"] for r in incident["rules"])


def alerts(receiver):
    return sum(of_snapshots(a["incident"]) for _, a in receiver.alerts)


def scenario():
    if available():
        skip(available())
    machine = Machine()
    with Isod(start=False, env=machine.env, settings="snapshot:\n  interval: 1s\n  records: 1000\n") as isod:
        receiver = isod.receiver()
        isod.escalate(isod.webhook(receiver), """\
  - {name: all, plugin: oncall, min_level: low, attempts: 9, backoff: 100ms, backoff_max: 1s}
""")
        for error in ("ENOSPC", "EIO"):
            isod.start()
            for operation in ("write", "open"):
                machine.fail(operation, error, isod.path("state", "snapshots"))
            isod.wait(lambda: matching(isod) or counter(isod, "snapshots_failed") > 0, "a snapshot fails")
            isod.wait(lambda: alerts(receiver) > 0, "a plugin has told it, of the first one")
            check(not any(w["stalled"] for w in isod.status()["workers"]), "nobody waits")
            events = isod.events("tcp/")
            machine.heal()
            # After a failure it waits a minute; the one at the end is written at once.
            isod.stop()
            isod.start()
            check(counter(isod, "snapshot_sequence") > 0, "the start takes the snapshot that there was room for")
            check(isod.events("tcp/") == events, "and has everything")
            isod.stop()
        receiver.close()


main(scenario)
