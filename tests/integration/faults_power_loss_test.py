"""Power loss: what was not synced is gone, as hard as POSIX allows a file system to be (tests/faults/shim.c). After each
cut isod comes up by itself, the ledger verifies, what had been synced is there, and it goes on with sequences that nobody
has seen. `make torture` does the same under load and much longer."""
from harness import Isod, check, main, skip
from machine import Disk, Machine, available

ROUNDS = 3
LINES = 500


def lines(round):
    return [f"<38>Nov 23 18:00:00 web1 sshd[1]: Failed password for root from 203.0.113.{round + 1} port {n} ssh2"
            for n in range(LINES)]


def settled(isod):
    counters = {c["name"]: c["value"] for c in isod.status()["counters"]}
    return counters["ingest_workers_redetecting"] == 0 and counters["ingest_frames_untallied"] == 0


def scenario():
    if available():
        skip(available())
    machine = Machine()
    with Isod(start=False, settings="evidence:\n  sync_interval: 1ms\n") as isod:
        disk = Disk(isod.path("state"))
        isod.env.update(machine.env)
        isod.env.update(disk.env)
        for round in range(ROUNDS):
            isod.start()
            before = isod.events("tcp/")
            check(before >= round * LINES, f"{before} events are left of {round * LINES} that were durable")
            isod.send("--tcp", lines(round))
            # A tally is shown when it is durable. What comes behind it may be lost, or a part of it.
            isod.wait(lambda: isod.events("tcp/") == before + LINES and settled(isod), "all lines were counted")
            isod.send("--tcp", [f"<30>Nov 23 18:00:00 web1 app: maybe lost {n}" for n in range(LINES)])
            isod.kill()
            disk.cut()
            isod.isoctl("ledger", "verify", isod.path("state", "ledger"))
        isod.start()
        isod.wait(lambda: settled(isod), "re-detection ends")
        guessers = {e["name"] for i in isod.incidents() for e in i["entities"] if e["kind"] == "address"}
        for round in range(ROUNDS):
            check(f"203.0.113.{round + 1}" in guessers, f"the incident of round {round}")
        isod.stop()
        disk.close()


main(scenario)
