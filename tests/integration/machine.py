"""What tests/faults/shim.c does to an isod, from the scenario's side.

    machine = Machine()
    with Isod(env=machine.env) as isod:
        machine.fail("write", "ENOSPC", isod.path("state", "evidence"))
        ...
        machine.heal()

and for power cuts:

    disk = Disk(isod.path("state"))       # before isod starts; isod's env: {**machine.env, **disk.env}
    isod.kill()
    disk.cut()                            # the folder is now what a power cut at that moment would have left
"""
import errno
import mmap
import os
import shutil
import subprocess
import tempfile

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
SHIM = os.path.join(BUILD, "tests", "faults.so")
FAULTS_BYTES = 4096


def available():
    """Why the shim cannot be used here, or None."""
    if not os.path.exists(SHIM):
        return "the shim was not built"
    if os.path.basename(os.path.normpath(BUILD)).startswith("san-"):
        return "sanitizers stand before the C library themselves"
    return None


class Machine:
    def __init__(self):
        self.faults, self.offset, self.number = [], 0, 0
        self.file = tempfile.NamedTemporaryFile(prefix="isod-faults-")
        self.file.truncate(FAULTS_BYTES)
        self.map = mmap.mmap(self.file.fileno(), FAULTS_BYTES)
        self.env = {"LD_PRELOAD": SHIM, "ISOD_FAULTS": self.file.name}
        self.tell()

    def tell(self):
        lines = "".join("\n" + line for line in [*self.faults, f"clock {self.offset}"]).encode() + b"\n"
        self.number += 1
        number = b"%08d" % self.number
        self.map[0:8] = number  # unlike the last one while the rest changes
        self.map[8:FAULTS_BYTES - 8] = lines.ljust(FAULTS_BYTES - 16, b"\n")
        self.map[FAULTS_BYTES - 8:FAULTS_BYTES] = number

    def fail(self, operation, error, path):
        """operation: write, sync or open; error: "ENOSPC"…"""
        self.faults.append(f"fail {operation} {getattr(errno, error)} {os.path.realpath(path)}")
        self.tell()

    def heal(self):
        self.faults = []
        self.tell()

    def clock(self, seconds):
        """The wall clock is so many seconds off from now on."""
        self.offset = seconds
        self.tell()


class Disk:
    def __init__(self, root):
        self.root = os.path.realpath(root)
        os.makedirs(self.root, exist_ok=True)
        self.shadow = tempfile.mkdtemp(prefix="isod-disk-")
        self.env = {"LD_PRELOAD": SHIM, "ISOD_FAULTS_DISK": f"{self.shadow}:{self.root}"}

    def close(self):
        shutil.rmtree(self.shadow, ignore_errors=True)

    def rebuild(self, identity, path):
        with open(os.path.join(self.shadow, "folders", identity), errors="surrogateescape") as f:
            lines = f.read().splitlines()
        for line in lines:
            kind, mode, inner, name = line.split(" ", 3)
            to = os.path.join(path, name)
            if kind == "d":
                os.mkdir(to)
                # A folder that was never synced has no entries that would have survived.
                if os.path.exists(os.path.join(self.shadow, "folders", inner)):
                    self.rebuild(inner, to)
            else:
                durable = os.path.join(self.shadow, "files", inner)
                if os.path.exists(durable):
                    subprocess.run(["cp", "--sparse=auto", durable, to], check=True)
                else:
                    open(to, "wb").close()
            os.chmod(to, int(mode, 8))

    def cut(self):
        """Nothing may run on the folder. Afterwards recording begins anew with what is there then."""
        if not os.path.exists(os.path.join(self.shadow, "root")):
            return  # nothing has touched it yet
        with open(os.path.join(self.shadow, "root")) as f:
            identity = f.read().strip()
        after = self.root + ".after"
        os.mkdir(after, os.stat(self.root).st_mode & 0o7777)
        self.rebuild(identity, after)
        shutil.rmtree(self.root)
        os.rename(after, self.root)
        shutil.rmtree(self.shadow)
        os.mkdir(self.shadow)
