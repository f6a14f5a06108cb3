"""A file system that really turns read-only, and one that is really full, under a running isod; in a mount namespace of the
scenario's own (root, or a user namespace; where neither can be had it is skipped, and says so).

The kernel does not let anybody remount read-only what a process writes to, so that is not how it happens to a daemon. It
happens when the file system itself finds an error (ext4's errors=remount-ro, which is brought about here), and then there is
no way back but to unmount and repair: isod tells it through a plugin and ends or waits, and after the repair a new start
goes on: every acknowledged event is there once. What a remount does while isod is down, and for files that are opened
anew each time, is shown with a real remount. A full disk is a small tmpfs: ingest waits, and goes on by itself. (A disk that
turns back by itself is faults_disk_test.py's, which makes the errors in front of the C library.)"""
import json
import os
import shutil
import subprocess
import sys
import threading

from harness import BUILD, Isod, check, main, need, skip

MARK = "ISOD_TEST_IN_NAMESPACE"
EX_IOERR = 74
NUMBERED = 40000


def own_namespace():
    """Starts this scenario again where it may mount; mounts are gone when it ends."""
    if os.environ.get(MARK):
        return
    ways = [["-m"]] if os.geteuid() == 0 else [["-rm"]]
    for way in ways:
        command = [need("unshare"), *way, "--propagation", "private"]
        probe = subprocess.run([*command, "sh", "-c", "mount -t tmpfs none /tmp && umount /tmp"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if probe.returncode == 0:
            os.environ[MARK] = "1"
            os.execv(command[0], [*command, sys.executable, *sys.argv])
    skip("no mounts can be made here, not even in a namespace")


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def must(*command):
    status, said = run(*command)
    check(status == 0, f"{' '.join(command)}: {status} {said}")
    return said


def unmount(isod):
    """What isod had started may take a moment to end after it."""
    isod.wait(lambda: run("umount", isod.path("state"))[0] == 0, "nothing uses the file system any more")


def configure(isod):
    receiver = isod.receiver()
    isod.escalate(isod.webhook(receiver), """\
  - {name: all, plugin: oncall, min_level: high, attempts: 9, backoff: 100ms, backoff_max: 1s}
""")
    os.makedirs(isod.path("state"), exist_ok=True)
    return receiver


def alarms(receiver):
    titles = ("isod cannot write its books", "isod has ended")
    return [a["reason"] for _, a in receiver.alerts if a["incident"]["title"].startswith(titles)]


def lines(begin, count):
    return [f"<30>Nov 23 18:00:00 web1 app: line {begin + n} that is long enough to fill what there is to be filled "
            + "x" * 200 for n in range(count)]


def feed(isod, count):
    before = isod.events("tcp/")
    isod.send("--tcp", lines(before, count))
    isod.wait_events(before + count, "tcp/")


def proven(isod):
    done = isod.isoctl("--json", "verify", isod.path("state"), check_exit=False)
    check(done.returncode == 0, f"everything verifies: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


# ---- ext4 that finds an error ----

def mount_ext4(isod, image):
    status, said = run("mount", "-o", "loop,errors=remount-ro", image, isod.path("state"))
    if status != 0:
        return said.strip()
    device = next(l.split()[0] for l in open("/proc/mounts") if l.split()[1] == isod.path("state"))
    isod.trigger = f"/sys/fs/ext4/{os.path.basename(device)}/trigger_fs_error"
    return None if os.access(isod.trigger, os.W_OK) else "the kernel has no way to bring about an error of ext4"


def turns_read_only(isod):
    """None, or why it cannot be shown."""
    mkfs, image = shutil.which("mkfs.ext4", path=os.environ["PATH"] + ":/usr/sbin:/sbin"), isod.path("disk")
    if not mkfs:
        return "no mkfs.ext4 here"
    with open(image, "wb") as f:
        f.truncate(256 << 20)
    must(mkfs, "-q", "-F", image)
    receiver = configure(isod)
    why = mount_ext4(isod, image)
    if why:
        run("umount", isod.path("state"))
        receiver.close()
        return why
    isod.start()
    feed(isod, 2000)
    numbered = [f"<30>Nov 23 18:00:00 web1 app: number {n}\n" for n in range(NUMBERED)]
    isod.isoctl("send", "--producer", "p", isod.write("acknowledged", "".join(numbered[:NUMBERED // 2])))
    with open(isod.trigger, "w") as f:
        f.write("isod's test\n")
    producer = subprocess.Popen([os.path.join(BUILD, "isoctl"), "--socket", isod.path("isod.sock"), "send", "--producer", "p",
                                 "--first", "1", isod.write("numbered", "".join(numbered))],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        isod.wait(lambda: alarms(receiver), "the alarm")
        check("Read-only file system" in alarms(receiver)[0], f"it says why: {alarms(receiver)}")
        ended_or_waits(isod)
        unmount(isod)
        status, said = run(os.path.join(os.path.dirname(mkfs), "fsck.ext4"), "-p", "-f", image)
        check(status in (0, 1), f"fsck: {said}")
        check(mount_ext4(isod, image) is None, "it can be mounted again")
        isod.start()
        check(producer.wait(600) == 0, f"the producer: {producer.stdout.read()}")
    finally:
        producer.kill()
        producer.wait()
    isod.wait_events(NUMBERED, "producer/")
    check(isod.events("tcp/") == 2000, "what was counted before is there, once")
    feed(isod, 1000)
    isod.stop()
    proven(isod)
    unmount(isod)
    receiver.close()
    return None


def ended_or_waits(isod):
    """What had been written and not synced cannot be any more: then it ends. If all was synced it waits, in vain."""
    isod.wait(lambda: isod.process.poll() is not None or any(w["stalled"] for w in isod.status()["workers"]),
              "it takes nothing in")
    if isod.process.poll() is None:
        isod.kill()
        return
    check(isod.process.returncode == EX_IOERR, f"it ended with {isod.process.returncode}")
    isod.process = None


# ---- tmpfs ----

def mount_tmpfs(isod, size):
    must("mount", "-t", "tmpfs", "-o", f"size={size}", "none", isod.path("state"))


def fill(isod):
    with open(isod.path("state", "ballast"), "wb", buffering=0) as f:
        size = 1 << 20
        while size >= 512:
            try:
                f.write(b"x" * size)
            except OSError:
                size //= 2


def is_full(isod):
    """Ingest waits while there is no room, and goes on when there is."""
    receiver = configure(isod)
    mount_tmpfs(isod, "64m")
    isod.start()
    feed(isod, 1000)
    fill(isod)
    before = isod.events("tcp/")
    sender = threading.Thread(target=lambda: isod.send("--tcp", lines(before, 20000)))
    sender.start()
    isod.wait(lambda: alarms(receiver), "the alarm")
    check("No space left" in alarms(receiver)[0], f"it says why: {alarms(receiver)}")
    check(isod.events("tcp/") < before + 20000, "not everything was taken in")
    os.unlink(isod.path("state", "ballast"))
    isod.wait_events(before + 20000, "tcp/")
    sender.join()
    check(not any(w["stalled"] for w in isod.status()["workers"]), "no worker waits any more")
    stops_when_full(isod)
    proven(isod)
    unmount(isod)
    receiver.close()


def stops_when_full(isod):
    """SIGTERM while nothing can be written: it gives up after a while, says so, and ends."""
    fill(isod)
    before = isod.events("tcp/")
    # Nobody waits for what it says: isod ends while it sends.
    sender = subprocess.Popen([os.path.join(BUILD, "isoctl"), "--socket", isod.path("isod.sock"), "send", "--tcp",
                               isod.address("tcp"), isod.write("lines", "".join(l + "\n" for l in lines(before, 20000)))],
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    isod.wait(lambda: any(w["stalled"] for w in isod.status()["workers"]), "a worker waits")
    isod.stop()
    sender.wait()
    check(isod.log().count("are lost at the end: No space left on device") in (1, 2), "each worker says it once at most")
    os.unlink(isod.path("state", "ballast"))
    isod.start()
    check(isod.events("tcp/") >= before, "what was counted is there")
    feed(isod, 100)
    isod.stop()


def is_remounted(isod):
    receiver = configure(isod)
    mount_tmpfs(isod, "64m")
    isod.start()
    feed(isod, 1000)
    status, said = run("mount", "-o", "remount,ro", isod.path("state"))
    check(status != 0, f"the kernel keeps it writable while isod writes: {said}")
    feed(isod, 1000)
    snapshots_remounted(isod)
    isod.stop()
    must("mount", "-o", "remount,ro", isod.path("state"))
    status, said = run(os.path.join(BUILD, "isod"), "--config", isod.path("isod.yaml"))
    check(status not in (0, -11, -6) and "Read-only file system" in said and isod.path("state") in said,
          f"a start tells what is wrong: {status} {said}")
    proven(isod)
    must("mount", "-o", "remount,rw", isod.path("state"))
    isod.start()
    check(isod.events("tcp/") == 3000, "it goes on with everything")
    feed(isod, 1000)
    isod.stop()
    unmount(isod)
    receiver.close()


def snapshots_remounted(isod):
    """Files that are opened anew each time: a folder of them becomes read-only and writable again while isod runs."""
    folder = isod.path("state", "snapshots")
    os.makedirs(folder, exist_ok=True)
    must("mount", "--bind", folder, folder)
    must("mount", "-o", "remount,bind,ro", folder)
    failed = counter(isod, "snapshots_failed")
    isod.wait(lambda: matches(isod) or counter(isod, "snapshots_failed") > failed, "a snapshot fails")
    check("Read-only file system" in isod.log(), "and it is told why")
    check(not any(w["stalled"] for w in isod.status()["workers"]), "nobody waits for it")
    must("mount", "-o", "remount,bind,rw", folder)
    must("umount", folder)
    feed(isod, 3000 - isod.events("tcp/"))


def matches(isod):
    """Records for a snapshot, on another listener than the lines that are counted."""
    isod.send("--udp", [f"<38>Nov 23 18:00:00 web1 sshd[1]: Failed password for root from 203.0.113.{n % 9} port 1 ssh2"
                        for n in range(500)])


def counter(isod, name):
    return {c["name"]: c["value"] for c in isod.status()["counters"]}.get(name, 0)


def scenario():
    own_namespace()
    for what in (is_full, is_remounted):
        with Isod(start=False, settings="snapshot: {interval: 1s, records: 1000}\n") as isod:
            what(isod)
    with Isod(start=False, settings="evidence: {sync_interval: 1s}\n") as isod:
        why = turns_read_only(isod)
    if why:
        print(f"an ext4 that finds an error is not shown: {why}")


main(scenario)
