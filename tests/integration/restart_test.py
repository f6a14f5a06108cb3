"""isod is killed with -9 in the middle of a stream, several times. What had arrived is in evidence; after the last start
every frame that evidence holds is counted once, incidents are what they would have been, and the ledger verifies."""
from harness import Isod, check, main

ROUNDS = 4
LINES = 4000


def lines(round):
    out = []
    for n in range(LINES):
        if n % 10 == 0:
            out.append(f"<38>Nov 23 18:00:00 web1 sshd[1]: Failed password for root from 203.0.113.{round + 1} port {n} ssh2")
        else:
            out.append(f"<30>Nov 23 18:00:00 web1 app[{round}]: ordinary line {n}")
    return out


def evidence(isod):
    """Frames from the tcp listener that evidence holds, by folder."""
    return sum(s["received"] for name, s in isod.sources().items() if name.startswith("tcp/"))


def incidents(isod):
    """How many incidents there are, without that of isod's own stop."""
    return sum(any(r["title"] != "isod Stopped" for r in i["rules"]) for i in isod.incidents())


def scenario():
    with Isod() as isod:
        sent = 0
        for round in range(ROUNDS):
            isod.send("--tcp", lines(round))
            sent += LINES
            # Killed at once: before the tally of these frames, maybe before they were all read.
            isod.kill()
            isod.start()
            isod.wait(lambda: stable(isod), "re-detection ends")
            check(evidence(isod) <= sent, f"{evidence(isod)} events counted of {sent} sent")
        # An unbroken run of the same daemon over the same evidence adds nothing.
        before = evidence(isod), incidents(isod)
        isod.stop()
        isod.start()
        isod.wait(lambda: stable(isod), "start")
        check((evidence(isod), incidents(isod)) == before, "a clean restart counts nothing twice")
        for s in isod.sources().values():
            check(s["received"] == s["matched"] + s["unmatched"] + s["undecoded"] + s["refused"] + s["shed"], f"account of {s['source']}")
        isod.send("--tcp", lines(ROUNDS))
        isod.wait(lambda: evidence(isod) == before[0] + LINES, "new frames count on")
        guessers = {e["name"] for i in isod.incidents() for e in i["entities"] if e["kind"] == "address"}
        check(f"203.0.113.{ROUNDS + 1}" in guessers, "and are detected")
        isod.isoctl("ledger", "verify", isod.path("state", "ledger"))
        isod.stop()


def stable(isod):
    """Every worker is past re-detection, and nothing waits to be counted."""
    counters = {c["name"]: c["value"] for c in isod.status()["counters"]}
    return counters["ingest_workers_redetecting"] == 0 and counters["ingest_frames_untallied"] == 0


main(scenario)
