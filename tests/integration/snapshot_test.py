"""A start goes by the newest snapshot. isod is killed with -9 under load while it writes snapshots; after each start its
state has the digest that the whole ledger has when it is folded from its beginning, and in the end its books are those
of a daemon that reads the same evidence without a break. A damaged snapshot is passed over for the older one, and in the
end for the ledger. What was about to be told when isod was killed is told after the start, once."""
import os
import shutil

from harness import BUILD, Isod, check, main
import subprocess

SETTINGS = "snapshot: {interval: 1s, records: 1000}\n"
ROUNDS = 4
LINES = 3000


def lines(round):
    """Password guessing from a few addresses, among much that is ordinary."""
    return [f"<38>Nov 23 18:00:00 web1 sshd[1]: Failed password for u{n % 7} from 203.0.113.{round * 5 + n % 4 + 1} port {n} ssh2"
            if n % 6 == 0 else f"<30>Nov 23 18:00:00 web1 app[{round}]: ordinary line {n}" for n in range(LINES)]


def quiet(isod):
    """Nothing waits to be counted, and nothing comes."""
    def settled():
        c = isod.counters()
        return c["ingest_workers_redetecting"] == 0 and c["ingest_frames_untallied"] == 0
    isod.wait(settled, "everything is counted")


def snapshots(isod):
    folder = isod.path("state", "snapshots")
    return sorted(n for n in os.listdir(folder) if n.endswith(".snap")) if os.path.isdir(folder) else []


def replay(folder, *more):
    done = subprocess.run([os.path.join(BUILD, "isod"), "--replay", folder, *more], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    check(done.returncode == 0, f"isod --replay: {done.returncode} {done.stderr}")
    return {l.split(None, 1)[0]: l.split(None, 1)[1] for l in done.stdout.splitlines()}


def same_as_ledger(isod, when):
    """The daemon's digest is that of its ledger, folded from the beginning up to the same record."""
    live = isod.ask("ledger", "digest")[0]
    again = replay(isod.path("state"), "--until", str(live["sequence"]))
    check(again["digest"] == live["digest"], f"{when}: the same digest after record {live['sequence']}")
    check(again["books"] == live["books"], f"{when}: the same books")
    return live


def killed_under_load(isod):
    for round in range(ROUNDS):
        isod.send("--tcp", lines(round))
        if round % 2 == 0:
            known = isod.counters()["snapshots_written"]
            isod.wait(lambda: poke(isod) and isod.counters()["snapshots_written"] > known, "a snapshot is taken")
        isod.kill()
        isod.start()
        quiet(isod)
        same_as_ledger(isod, f"after kill {round + 1}")
    check(isod.counters()["snapshot_sequence"] > 0, "the last start went by a snapshot")
    check(isod.counters()["snapshots_refused"] == 0, "which was sound")


def poke(isod):
    """Something for the ledger, so that there is something new to be saved."""
    return isod.send("--tcp", ["<30>Nov 23 18:00:00 web1 app[9]: ordinary"])


def unbroken(isod):
    """Another daemon reads the same evidence, from the beginning and in one go."""
    isod.stop()
    books = replay(isod.path("state"))["books"]
    with Isod(SETTINGS, start=False) as other:
        shutil.copytree(isod.path("state", "evidence"), other.path("state", "evidence"))
        other.start()
        quiet(other)
        check(other.ask("ledger", "digest")[0]["books"] == books, "the books are those of an unbroken run")
    isod.start()
    quiet(isod)


def damage(isod, name):
    with open(isod.path("state", "snapshots", name), "r+b") as f:
        f.seek(-40, os.SEEK_END)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))


def damaged(isod):
    isod.stop()
    kept = snapshots(isod)
    check(len(kept) == 2, f"two are kept: {kept}")
    damage(isod, kept[-1])
    isod.start()
    quiet(isod)
    check(isod.counters()["snapshots_refused"] == 1, "the damaged one was refused")
    check("snapshot refused" in isod.log(), "and the log says why")
    same_as_ledger(isod, "from the older snapshot")
    isod.stop()
    for name in snapshots(isod):
        damage(isod, name)
    isod.start()
    quiet(isod)
    check(isod.counters()["snapshots_refused"] == 2, "both were refused")
    same_as_ledger(isod, "from the whole ledger")


def shortened():
    """The oldest of a ledger is removed once two snapshots cover it; from then on a snapshot is needed."""
    with Isod(SETTINGS + "ledger: {segment_size: 64KiB, keep_size: 1MiB, compress: off}\n") as isod:
        for round in range(200):
            isod.send("--tcp", [l for l in lines(round % 40) if "Failed" in l])
            quiet(isod)
            if isod.counters()["ledger_segments_removed"]:
                break
        check(isod.counters()["ledger_segments_removed"] > 0, "the ledger was shortened")
        isod.kill()
        isod.start()
        quiet(isod)
        check(isod.counters()["snapshot_sequence"] > 0, "the start went by a snapshot")
        same_as_ledger(isod, "from the older snapshot")
        isod.isoctl("ledger", "verify", isod.path("state"))
        isod.stop()
        for name in snapshots(isod):
            damage(isod, name)
        done = subprocess.run([os.path.join(BUILD, "isod"), "--config", isod.path("isod.yaml")], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(done.returncode == 1 and "can stand in for it" in done.stdout, f"it does not start: {done.stdout[-1500:]}")


def script(isod):
    """A program that is told of an incident, and holds it back until it may go on."""
    isod.write("page.sh", f"#!/bin/sh\ncat >{isod.path('told')}/$$.begun\n"
               f"while [ ! -e {isod.path('gate')} ]; do sleep 0.1; done\nmv {isod.path('told')}/$$.begun {isod.path('told')}/$$.done\n")
    os.chmod(isod.path("page.sh"), 0o755)
    os.mkdir(isod.path("told"))
    isod.write("escalation.yaml", f"""
plugins:
  - {{name: pager, program: exec, options: {{program: "{isod.path('page.sh')}"}}}}
routes:
  - {{name: page, plugin: pager, min_level: medium, attempts: 3, backoff: 1s, backoff_max: 5s}}
""")


def told(isod, how):
    return [n for n in os.listdir(isod.path("told")) if n.endswith(how)]


def between_open_and_page():
    with Isod(SETTINGS, start=False) as isod:
        script(isod)
        isod.start()
        isod.send("--tcp", lines(0)[:60])
        isod.wait(lambda: told(isod, ".begun"), "the pager is about to page")
        known = isod.counters()["snapshots_written"]
        isod.wait(lambda: poke(isod) and isod.counters()["snapshots_written"] > known, "a snapshot has it in flight")
        isod.kill()
        check(not told(isod, ".done"), "nobody was paged")
        isod.write("gate", "")
        isod.start()
        check(isod.counters()["snapshot_sequence"] > 0, "the start went by the snapshot")
        isod.wait(lambda: told(isod, ".done"), "the page goes out after the start")
        isod.wait(lambda: {n["state"] for n in isod.ask("notifications")} == {"delivered"}, "and is known to be out")
        same_as_ledger(isod, "after the page")


def scenario():
    with Isod(SETTINGS) as isod:
        killed_under_load(isod)
        unbroken(isod)
        damaged(isod)
    shortened()
    between_open_and_page()


main(scenario)
