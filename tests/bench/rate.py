"""The line rate rows of `make bench-ingest`: rsyslog (imtcp with its OpenSSL driver, to a file; tuned and as shipped) and isod
(TLS, evidence on the disk, decoding, Sigma; with the starter rules and with SigmaHQ's for Linux) take the same stream from the
same sender (load_stream), in turns. Messages per second of wall clock and of the receiver's processor time.

Processor time is that of the receiver's process with all its threads and children (isod's Redis), from before the stream to
when everything is done: rsyslog's file has all lines; isod has all in evidence, on the disk, matched, and counted in the
ledger. Wall clock ends when rsyslog's file has all lines; when isod has all in evidence and has matched all. Evidence is not
compressed within that time (evidence.at_hand); at level 1, with its proof, that costs another 0.7 µs a short message."""
import os
import socket
import statistics
import subprocess
import time

from harness import BUILD, SHARED, TOP, Isod, check, need

# CONNECTIONS="1 8" SHORT=messages LONG=messages (0: none) ROUNDS=
CONNECTIONS = [int(n) for n in os.environ.get("CONNECTIONS", "1 8").split()]
SIZES = {137: int(os.environ.get("SHORT", 300000)), 2300: int(os.environ.get("LONG", 30000))}
# Senders that write each message by itself make a TLS record of each; others gather them in full records.
PIECES = {"a TLS record each": 1, "in full TLS records": 1 << 16}
LINE_ROUNDS = int(os.environ.get("ROUNDS", 3))
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Of a process with its threads and children, living and waited for."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rpartition(")")[2].split()
    used = sum(int(n) for n in fields[11:15]) / TICKS
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return used + sum(cpu_seconds(int(child)) for child in f.read().split())


def until(done):
    end = time.monotonic() + 300
    while not done():
        check(time.monotonic() < end, "the receiver did not finish")
        time.sleep(0.02)


class Rsyslog:
    """Tuned: large batches, no disk queue, two workers, lines as they came, a large buffer for the file. Else as shipped."""
    TUNED = """main_queue(queue.type="FixedArray" queue.size="200000" queue.dequeueBatchSize="4096" queue.workerThreads="2"
	queue.workerThreadMinimumMessages="20000")
"""

    def __init__(self, isod, tuned):
        self.name = "rsyslog, tuned" if tuned else "rsyslog as shipped"
        self.dir = isod.path("rsyslog-tuned" if tuned else "rsyslog")
        self.out, self.at, self.lines = self.dir + "/out", 0, 0
        os.mkdir(self.dir)
        with socket.create_server(("127.0.0.1", 0)) as s:
            self._port = s.getsockname()[1]
        how = 'template="bare" ioBufferSize="256k" flushOnTXEnd="on" asyncWriting="off"' if tuned else ""
        with open(self.dir + "/conf", "w") as f:
            f.write(f"""
global(workDirectory="{self.dir}" defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{isod.path('tls/ca.pem')}"
	defaultNetstreamDriverCertFile="{isod.path('tls/server.pem')}" defaultNetstreamDriverKeyFile="{isod.path('tls/server.key')}")
{self.TUNED if tuned else ""}module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
template(name="bare" type="list") {{ property(name="rawmsg") constant(value="\\n") }}
input(type="imtcp" port="{self._port}" address="127.0.0.1")
action(type="omfile" file="{self.out}" {how})
""")
        with open(self.dir + "/log", "w") as log:
            self.process = subprocess.Popen([need("rsyslogd"), "-n", "-f", self.dir + "/conf", "-i", self.dir + "/pid"],
                                            stdout=log, stderr=log)
        isod.wait(lambda: os.system(f"exec 2>/dev/null; bash -c ': </dev/tcp/127.0.0.1/{self._port}'") == 0, "rsyslog listens")

    def port(self):
        return self._port

    def count(self):
        """Lines in the file by now."""
        if os.path.exists(self.out):
            with open(self.out, "rb") as f:
                f.seek(self.at)
                while more := f.read(1 << 20):
                    self.at += len(more)
                    self.lines += more.count(b"\n")
        return self.lines

    def begin(self):
        self.lines_before = self.count()

    def wait_stored(self, frames):
        until(lambda: self.count() >= self.lines_before + frames)

    wait_done = wait_stored

    def close(self):
        self.process.terminate()
        self.process.wait()


class Receiver:
    def __init__(self, name, rules):
        self.name = name
        self.isod = Isod(start=False)
        with open(self.isod.path("isod.yaml")) as f:
            text = f.read()
        before = f"rules: [{TOP}/conf/rules]"
        check(before in text, "isod.yaml tells of the rules as expected")
        self.isod.write("isod.yaml", text.replace(before, "rules: [" + ", ".join(rules) + "]"))
        self.isod.start()
        self.isod.wait(lambda: self.isod.status()["rules_compiled"], "rules are compiled")
        self.process = self.isod.process

    def port(self):
        return self.isod.port("tls")

    def counted(self):
        return self.isod.events("tls/")

    def begin(self):
        self.events_before, self.matched_before = self.counted(), self.isod.detected()

    def wait_stored(self, frames):
        until(lambda: self.isod.detected() >= self.matched_before + frames)

    def wait_done(self, frames):
        until(lambda: self.counted() >= self.events_before + frames)

    def close(self):
        self.isod.__exit__(None, None, None)


def linux_rules():
    folder = os.path.join(SHARED, "corpus", "sigma")
    names = [os.path.join(folder, name, "linux") for name in ("rules", "rules-emerging-threats", "rules-threat-hunting")]
    return [name for name in names if os.path.isdir(name)]


def stream(receiver, connections, frames, size, piece):
    """Messages per second of wall clock and of processor time."""
    receiver.begin()
    pid, before = receiver.process.pid, cpu_seconds(receiver.process.pid)
    done = subprocess.run([os.path.join(BUILD, "bench", "load_stream"), "127.0.0.1", str(receiver.port()), str(connections),
                           str(frames), str(size), str(piece)], stdout=subprocess.PIPE, check=True, timeout=600)
    end_of_sending = time.monotonic()
    sent, seconds = done.stdout.split()
    receiver.wait_stored(frames)
    wall = float(seconds) + time.monotonic() - end_of_sending
    receiver.wait_done(frames)
    return frames / wall, frames / (cpu_seconds(pid) - before), int(sent) / frames


def report(size, mean, connections, how, results, names):
    print(f"{connections} connection{'s' if connections > 1 else ''}, {SIZES[size]} messages of {mean:.0f} bytes, {how}: messages "
          "per second of wall clock, of processor time: best (median), ratio of the best to that of rsyslog, tuned")
    best = {n: [max(r[n]) for r in results] for n in names}
    for n in names:
        row = f"{n:>28}"
        for kind in (0, 1):
            median, ratio = statistics.median(results[kind][n]), best[n][kind] / best[names[0]][kind]
            row += f"  {best[n][kind]:10.0f} ({median:9.0f}) {ratio:5.2f}"
        print(row, flush=True)


def line_rate():
    linux = linux_rules()
    receivers = [Receiver("isod, starter rules", [f"{TOP}/conf/rules"])]
    try:
        if linux:
            receivers.append(Receiver("isod, SigmaHQ's for Linux", linux))
        else:
            print("skipped: the row with SigmaHQ's rules for Linux: no corpus ($ISOD_SHARED)")
        receivers[:0] = [Rsyslog(receivers[0].isod, True), Rsyslog(receivers[0].isod, False)]
        names = [r.name for r in receivers]
        ways = [(size, connections, how) for size in SIZES if SIZES[size] for connections in CONNECTIONS for how in PIECES]
        for size, connections, how in ways:
            results, mean = [{n: [] for n in names} for _ in range(2)], 0
            for _ in range(LINE_ROUNDS):
                for r in receivers:
                    wall, cpu, mean = stream(r, connections, SIZES[size], size, PIECES[how])
                    results[0][r.name].append(wall)
                    results[1][r.name].append(cpu)
            report(size, mean, connections, how, results, names)
    finally:
        for r in receivers:
            r.close()
