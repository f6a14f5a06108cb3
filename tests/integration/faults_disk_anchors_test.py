"""The disk is full, fails or is read-only just where the ledger's anchors are written: isod goes on taking in and detecting, it is
logged, counted and an event of isod's own, once for each time, and when the disk is well again the anchors go on by
themselves, without a piece of a line between them. EIO of fdatasync too: the line is written again."""
import json
import os

from harness import Isod, check, main, skip
from machine import Machine, available

FAULTS = (("write", "ENOSPC", "No space left"), ("write", "EIO", "Input/output error"), ("sync", "EIO", "Input/output error"),
          ("open", "EROFS", "Read-only file system"))


def counter(isod, name):
    return {c["name"]: c["value"] for c in isod.status()["counters"]}.get(name, 0)


def something_happens(isod):
    """The head moves: an anchor is due."""
    before = isod.events("tcp/")
    isod.send("--tcp", [f"<38>Nov 23 18:00:00 web1 sshd[1]: Failed password for root from 203.0.113.{n} port 1 ssh2"
                        for n in range(20)])
    isod.wait_events(before + 20, "tcp/")


def scenario():
    if available():
        skip(available())
    machine = Machine()
    with Isod(env=machine.env, settings="anchors: {interval: 1s}\n") as isod:
        anchors = isod.path("state", "anchors")
        isod.wait(lambda: os.path.exists(anchors), "the first anchor")
        for number, (operation, error, words) in enumerate(FAULTS, 1):
            failures, own = counter(isod, "ledger_anchor_failures"), isod.sources()["isod/test"]["received"]
            machine.fail(operation, error, anchors)
            isod.wait(lambda: something_happens(isod) or counter(isod, "ledger_anchor_failures") > failures + 1,
                      f"{operation} fails with {error}")
            told = isod.log().count(f"could not be anchored in {anchors}: {words}")
            check(told == 1 + (number == 3), f"told once, however often it is tried: {told}")
            isod.wait(lambda: isod.sources()["isod/test"]["received"] > own, "an event of isod's own")
            check(not any(w["stalled"] for w in isod.status()["workers"]), "nobody waits")
            machine.heal()
            isod.wait(lambda: something_happens(isod) or isod.log().count("can be written again") == number, "it goes on")
        isod.stop()
        told = json.loads(isod.isoctl("--json", "verify", isod.path("state")).stdout)
        check(told["sound"] and told["anchors"]["agree"] > len(FAULTS) and not told["anchors"]["torn"], f"{told}")


main(scenario)
