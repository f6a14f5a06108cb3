"""Real rsyslogs, and librelp without rsyslog (tests/clients/librelp.c), forward over RELP, plain and TLS: every line becomes one event and stands in evidence once. isod is killed
while they send: every line is in evidence all the same, and what is there twice are lines that rsyslog sent again because
their acknowledgement was lost, no more than its window for each kill, and the account shows them. A sender that breaks off
without a word loses nothing that was acknowledged."""
import collections
import glob
import os
import random
import socket
import struct
import subprocess

from evidence_reader import LOSS, read_evidence
from harness import BUILD, Isod, check, main, need, skip

LINES = 6000
KILLS = 4
WINDOW = 128  # omrelp's usual one
LIBRELP_LINES, LIBRELP_WINDOW = 20000, 64

LISTENERS = """
  - {name: relp, kind: relp, address: "127.0.0.1:%d"}
  - {name: relptls, kind: relp-tls, address: "127.0.0.1:%d", certificate: tls/server.pem, key: tls/server.key, ca: tls/ca.pem, peers: required}
rules:"""


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Rsyslog:
    """Reads a file and sends its lines with omrelp."""

    def __init__(self, isod, name, port, lines, options=""):
        self.isod, self.dir = isod, isod.path(name)
        os.mkdir(self.dir)
        with open(self.dir + "/lines", "w") as f:
            f.writelines(line + "\n" for line in lines)
        with open(self.dir + "/conf", "w") as f:
            f.write(f"""
global(workDirectory="{self.dir}" maxMessageSize="64k")
module(load="imfile")
module(load="omrelp" tls.tlslib="openssl")
template(name="bare" type="string" string="%msg%")
input(type="imfile" File="{self.dir}/lines" Tag="shipped" Severity="info" Facility="auth")
action(type="omrelp" target="127.0.0.1" port="{port}" template="bare" windowSize="{WINDOW}" action.resumeRetryCount="-1"
       action.resumeInterval="1" action.resumeIntervalMax="1" {options})
""")
        with open(self.dir + "/log", "wb") as log:
            self.process = subprocess.Popen([need("rsyslogd"), "-n", "-f", self.dir + "/conf", "-i", self.dir + "/pid"],
                                            stdout=log, stderr=log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def log(self):
        with open(self.dir + "/log", errors="replace") as f:
            return f.read()[-2000:]

    def wait(self, condition, what):
        self.isod.wait(lambda: condition() or self.process.poll() is not None, what)
        check(self.process.poll() is None, "rsyslogd ended: " + self.log())


class Librelp:
    """Sends numbered lines and closes its session, which waits for the last answers."""

    def __init__(self, port, text, count, tls=()):
        self.process = subprocess.Popen([os.path.join(BUILD, "clients", "librelp"), "127.0.0.1", str(port), text, str(count),
                                         str(LIBRELP_WINDOW), *tls], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def ended(self):
        return self.process.poll() is not None

    def finish(self):
        """What it said."""
        said = self.process.communicate(timeout=300)[0]
        check(self.process.returncode == 0, f"librelp: exit {self.process.returncode}: {said}")
        return said


def evidence(isod, listener):
    """How often each line is in evidence."""
    return collections.Counter(e.frame.decode().strip() for e in read_evidence(isod, listener + "/") if not e.flags & LOSS)


def lines(name):
    return [f"{name} line {n} of {LINES}" for n in range(LINES)]


def of(isod, listener, word):
    """The lines that begin with `word`, and how often each is in evidence."""
    return collections.Counter({l: n for l, n in evidence(isod, listener).items() if l.startswith(word + " ")})


def counted(isod, listener):
    try:
        return isod.events(listener + "/")
    except Exception:
        return 0


def plain_and_tls(isod, ports):
    """Count in, count out, evidence: all the same."""
    tls = (f'tls="on" tls.caCert="{isod.path("tls", "ca.pem")}" tls.myCert="{isod.path("tls", "client.pem")}" '
           f'tls.myPrivKey="{isod.path("tls", "client.key")}" tls.authMode="name" tls.permittedPeer="localhost"')
    for listener, port, options in (("relp", ports[0], ""), ("relptls", ports[1], tls)):
        sent = lines(listener)
        with Rsyslog(isod, "rsyslog-" + listener, port, sent, options) as rsyslog:
            rsyslog.wait(lambda: isod.events(listener + "/") >= LINES, f"all of {listener} arrives")
            isod.wait_events(LINES, listener + "/")
        found = evidence(isod, listener)
        check(found == collections.Counter(sent), f"{listener}: {len(found)} lines, {sum(found.values())} times in evidence")


def killed(isod, ports):
    sent, dice = lines("kill"), random.Random(4711)
    with Rsyslog(isod, "rsyslog-kill", ports[0], sent) as rsyslog:
        for _ in range(KILLS):
            goal = counted(isod, "relp") + dice.randrange(1, LINES // (2 * KILLS))
            rsyslog.wait(lambda: counted(isod, "relp") >= goal, "some more arrive")
            isod.kill()
            isod.start()
        rsyslog.wait(lambda: len(of(isod, "relp", "kill")) == LINES, "all arrive")
    found = of(isod, "relp", "kill")
    repeats = sum(found.values()) - LINES
    check(set(found) == set(sent), "every line is in evidence")
    check(repeats <= KILLS * WINDOW, f"{repeats} lines were sent again, the window is {WINDOW}, isod was killed {KILLS} times")
    isod.wait_events(sum(evidence(isod, "relp").values()), "relp/")  # the account has the repeats
    print(f"{repeats} repeats after {KILLS} kills")


def librelp(isod, ports):
    """Everything that it sent and was told of is there once; the session is closed in order, without an open end."""
    tls = [isod.path("tls", name) for name in ("ca.pem", "client.pem", "client.key")] + ["localhost"]
    for listener, port, options in (("relp", ports[0], ()), ("relptls", ports[1], tls)):
        with Librelp(port, "lib", LIBRELP_LINES, options) as client:
            said = client.finish()
        check(said == "0\n", f"librelp complains of nothing: {said}")
        check(of(isod, listener, "lib") == collections.Counter(f"lib {n}" for n in range(LIBRELP_LINES)),
              f"{listener}: all that librelp was told of is in evidence")
        refused = sum(s["refused"] for name, s in isod.sources().items() if name.startswith(listener + "/"))
        check(refused == 0, f"{refused} refused")


def librelp_killed(isod, ports):
    """It sends again what was not answered: all is in evidence, repeats are bounded by its window."""
    dice = random.Random(4713)
    with Librelp(ports[0], "again", LIBRELP_LINES) as client:
        for kill in range(KILLS):
            goal = kill * LIBRELP_LINES // (KILLS + 1) + dice.randrange(1, LIBRELP_LINES // (KILLS + 2))
            isod.wait(lambda: sum(of(isod, "relp", "again").values()) >= goal or client.ended(), "some more arrive")
            check(not client.ended(), "isod is killed while it sends")
            isod.kill()
            isod.start()
        said = client.finish()
    found = of(isod, "relp", "again")
    check(len(found) == LIBRELP_LINES, f"all lines are in evidence: {len(found)}")
    repeats = sum(found.values()) - LIBRELP_LINES
    check(repeats <= KILLS * LIBRELP_WINDOW, f"{repeats} lines were sent again, the window is {LIBRELP_WINDOW}, isod was killed {KILLS} times")
    print(f"librelp: {repeats} repeats after {KILLS} kills; it said: {said.splitlines()[-1]}")


def abrupt(isod, ports):
    """A hand-made client: what was acknowledged is there, whatever comes of the connection."""
    s = socket.create_connection(("127.0.0.1", ports[0]))
    s.settimeout(60)
    s.sendall(b"1 open 14 relp_version=0\n")
    s.sendall(b"".join(b"%d syslog 11 abrupt %04d\n" % (n + 2, n) for n in range(500)))
    got = b""
    while got.count(b"200 OK") < 501:
        got += s.recv(65536)
    check(len(evidence_of_abrupt(isod)) == 500, "acknowledged is in evidence")
    s.sendall(b"600 syslog 11 abrupt 0600\n601 syslog 11 abrupt 06")
    isod.wait(lambda: len(evidence_of_abrupt(isod)) == 501, "what came is taken")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()
    isod.wait(lambda: sum(c["connections"] for c in isod.status()["listeners"] if c["name"] == "relp") == 0, "it is gone")
    check(len(evidence_of_abrupt(isod)) == 501, "the unfinished one is not: nobody was told that it was taken")


def evidence_of_abrupt(isod):
    return [l for l in evidence(isod, "relp") if l.startswith("abrupt")]


def scenario():
    if not glob.glob("/usr/lib/*/rsyslog/omrelp.so"):
        skip("no rsyslog with omrelp here")
    ports = free_ports(2)
    with Isod(start=False) as isod:
        with open(isod.path("isod.yaml")) as f:
            text = f.read().replace("\nrules:", LISTENERS % tuple(ports), 1)
        isod.write("isod.yaml", text)
        isod.start()
        plain_and_tls(isod, ports)
        librelp(isod, ports)
        librelp_killed(isod, ports)
        abrupt(isod, ports)
        killed(isod, ports)


main(scenario)
