"""A backup is taken from a daemon that works, and restored: the restored ledger folds to the digest that the daemon had at
that record, a daemon starts on it and goes on, and every tool opens the file. What is cut off or changed in one bit, and a
folder that is not empty, is refused, and nothing of it stays."""
import json
import os
import shutil
import subprocess
import threading

from harness import BUILD, Isod, check, main, need

SETTINGS = "anchors: {interval: 1s}\nsnapshot: {interval: 1s, records: 1000}\nevidence: {segment_size: 256KiB}\nledger: {segment_size: 64KiB}\n"


def lines(count, start=0):
    return [f"<38>Nov 23 18:00:00 web1 sshd[7]: Failed password for u{n % 9} from 203.0.113.{n % 50} port {n} ssh2 "
            f"{n * 2654435761 % 2**32:x}" for n in range(start, start + count)]


def quiet(isod):
    def settled():
        c = {c["name"]: c["value"] for c in isod.status()["counters"]}
        return c["ingest_workers_redetecting"] == 0 and c["ingest_frames_untallied"] == 0
    isod.wait(settled, "everything is counted")


def replay(folder, *more):
    done = subprocess.run([os.path.join(BUILD, "isod"), "--replay", folder, *more], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    check(done.returncode == 0, f"isod --replay: {done.returncode} {done.stderr}")
    return {l.split(None, 1)[0]: l.split(None, 1)[1] for l in done.stdout.splitlines()}


def restore(file, folder):
    return subprocess.run([os.path.join(BUILD, "isoctl"), "restore", file, folder], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def restored_json(file, folder):
    done = subprocess.run([os.path.join(BUILD, "isoctl"), "--json", "restore", file, folder], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, text=True)
    told = json.loads(done.stdout)
    check((done.returncode == 0) == (told["error"] == ""), f"{done}")
    return told


def snapshots(isod):
    folder = isod.path("state", "snapshots")
    return [n for n in os.listdir(folder) if n.endswith(".snap")] if os.path.isdir(folder) else []


def under_load(isod, file):
    """Lines come all the time while the backup is taken."""
    stop = threading.Event()

    def feed():
        start = 10000
        while not stop.is_set():
            isod.send("--tcp", lines(2000, start))
            start += 2000
    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        told = isod.isoctl("backup", file).stdout
    finally:
        stop.set()
        feeder.join()
    check("to record" in told, told)
    return int(told.split("to record ")[1].split()[0])


def opens_anywhere(isod, file):
    """tar and sha256sum know what to do with it."""
    need("zstd")
    folder = isod.path("by-tar")
    os.mkdir(folder)
    subprocess.run(["tar", "--zstd", "-xf", file, "-C", folder], check=True)
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)


def refused(isod, file):
    with open(file, "rb") as f:
        whole = f.read()
    bad = isod.path("bad.tar.zst")
    for name, content in (("cut off", whole[:len(whole) // 2]), ("cut off at its end", whole[:-5]), ("empty", b""),
                          ("no archive", b"hello\n" * 1000), ("longer", whole + b"x"),
                          ("changed", whole[:len(whole) // 3] + bytes([whole[len(whole) // 3] ^ 4]) + whole[len(whole) // 3 + 1:])):
        with open(bad, "wb") as f:
            f.write(content)
        done = restore(bad, isod.path("refused"))
        check(done.returncode == 1 and "nothing was restored" in done.stderr, f"{name}: {done.returncode} {done.stderr}")
        check(restored_json(bad, isod.path("refused"))["error"], "told as JSON too")
        check(not os.path.exists(isod.path("refused")) and not os.path.exists(isod.path("refused.part")), f"{name}: nothing stays")
    done = restore(file, isod.path("restored"))
    check(done.returncode == 1 and "not empty" in done.stderr, f"a folder in use: {done.stderr}")
    done = isod.isoctl("backup", file, check_exit=False)
    check(done.returncode == 1 and "there already" in done.stderr, f"a file that is there: {done.stderr}")
    check(subprocess.run([os.path.join(BUILD, "isoctl"), "restore", file], stderr=subprocess.DEVNULL).returncode == 2, "usage")


def goes_on(isod, folder, sequence):
    """Another daemon begins with what was restored."""
    with Isod(SETTINGS, start=False) as other:
        shutil.rmtree(other.path("state"), ignore_errors=True)
        shutil.copytree(folder, other.path("state"))
        other.start()
        quiet(other)
        live = other.ask("ledger", "digest")[0]
        check(live["sequence"] > sequence, "it goes on with the ledger")
        check(replay(other.path("state"), "--until", str(live["sequence"]))["digest"] == live["digest"], "and folds it")
        before = other.events("tcp/")
        other.send("--tcp", lines(50, 900000))
        other.wait(lambda: other.events("tcp/") == before + 50, "new events count on")
        earlier = [n for n in os.listdir(other.path("state")) if n.startswith("anchors.until-") and not n.endswith(".pub")]
        check(len(earlier) == 1, f"anchors whose key stayed behind are set aside: {os.listdir(other.path('state'))}")
        earlier = other.path("state", earlier[0])
        other.isoctl("verify", other.path("state"), "--anchors", earlier, "--public-key", earlier + ".pub")
        other.stop()
        told = json.loads(other.isoctl("--json", "verify", other.path("state")).stdout)
        check(told["sound"] and told["anchors"]["agree"] >= 1, f"new ones are signed with a new key: {told}")


def scenario():
    with Isod(SETTINGS) as isod:
        file, folder = isod.path("isod.tar.zst"), isod.path("restored")
        isod.send("--tcp", lines(6000))
        isod.wait_events(6000, "tcp/")
        isod.wait(lambda: snapshots(isod), "a snapshot is taken")
        isod.wait(lambda: os.path.exists(isod.path("state", "anchors")), "an anchor is written")
        sequence = under_load(isod, file)
        os.mkdir(folder)
        done = restore(file, folder)
        check(done.returncode == 0 and "every digest holds" in done.stdout, f"{done.returncode} {done.stdout}{done.stderr}")
        check({"anchors", "anchors.pub"} < set(os.listdir(folder)), f"anchors are in it: {os.listdir(folder)}")
        check("anchors.key" not in os.listdir(folder), "the key that signs them is not")
        told = restored_json(file, isod.path("restored again"))
        check(told["records"] == told["last"] >= sequence and told["anchors"] >= 1 and told["files"] > 3, told)
        at = str(sequence)
        restored, daemon = replay(folder, "--until", at), replay(isod.path("state"), "--until", at)
        for what in ("records", "head", "digest", "books"):
            check(restored[what] == daemon[what], f"{what} is the daemon's at record {at}: {restored} {daemon}")
        check(os.listdir(os.path.join(folder, "snapshots")), "snapshots are in it")
        user = [e for e in isod.isoctl("ledger", "show", isod.path("state"), "--from", at, "--limit", "1").stdout.splitlines()]
        check("take_backup" in user[0] or "takeBackup" in user[0], f"the ledger tells who took it: {user}")
        refused(isod, file)
        opens_anywhere(isod, file)
        goes_on(isod, folder, sequence)


main(scenario)
