"""Sockets that were bound before isod was started, as systemd passes those of isod.socket: isod takes them instead of
binding, and what comes in while there is no isod waits for the next one."""
import http.client
import os
import re
import socket
import subprocess

from harness import BUILD, Isod, check, main

# What systemd does between fork and exec: the sockets become 3, 4, …, and the environment tells of them.
LAUNCHER = """
import fcntl, os, sys
fds = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for i, fd in enumerate(fds):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)), LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])
"""
NAMELESS = "isod.socket"  # what systemd calls the sockets of a unit that does not name them
LINE = "<13>Jan  1 00:00:00 host prog: {}"


def bound(address, kind=socket.SOCK_STREAM):
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    s = socket.socket(family, kind)
    if family == socket.AF_INET6:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    s.bind(address)
    if kind == socket.SOCK_STREAM:
        s.listen(64)
    return s


class Activated(Isod):
    """passed: (name, socket) as systemd would pass them."""

    def launch(self, passed):
        fds = [s.fileno() for _, s in passed]
        command = ["/usr/bin/python3", "-c", LAUNCHER, ",".join(map(str, fds)), ":".join(n for n, _ in passed),
                   os.path.join(BUILD, "isod"), "--config", self.path("isod.yaml")]
        with open(self.path("log"), "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env, pass_fds=fds)

    def start_with(self, passed):
        self.process = self.launch(passed)
        self.wait(self.answers, "isod answers")

    def refused(self, passed):
        """What isod says when it does not start."""
        before = len(self.log())
        check(self.launch(passed).wait(120) == 1, "isod started with sockets that do not fit")
        return self.log()[before:]

    def listen_at(self, name, address):
        """Writes an address into the configuration."""
        with open(self.path("isod.yaml")) as f:
            text = f.read()
        text, n = re.subn(r"(name: %s, kind: \w+, address: )(\"[^\"]*\"|[^,}]+)" % name, r'\1"%s"' % address, text)
        check(n == 1, f"no listener {name} in the configuration")
        self.write("isod.yaml", text)


def port(s):
    return s.getsockname()[1]


def tcp_line(s, text):
    """A connection that has sent a line and is still open."""
    c = socket.create_connection(("127.0.0.1", port(s)))
    c.sendall((LINE.format(text) + "\n").encode())
    return c


def inherited(isod):
    """Children of isod, and the sockets and variables of ours that they have."""
    found = []
    with open(f"/proc/{isod.process.pid}/task/{isod.process.pid}/children") as f:
        children = f.read().split()
    ours = {os.readlink(f"/proc/{isod.process.pid}/fd/{fd}") for fd in (3, 4, 5)}
    check(children and all(o.startswith("socket:") for o in ours), f"children {children}, sockets {ours}")
    for child in children:
        with open(f"/proc/{child}/environ", "rb") as f:
            found += [v for v in f.read().split(b"\0") if v.startswith(b"LISTEN_")]
        found += [l for l in (os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd")) if l in ours]
    return found


def served(isod, sockets):
    """Through each socket that was passed, and those bound beside them."""
    listeners = {l["name"]: l["address"] for l in isod.status()["listeners"]}
    for name in ("tls", "tcp", "udp"):
        check(listeners[name].endswith(f":{port(sockets[name])}"), f"{name} listens on {listeners[name]}")
    for door in ("--tls", "--tcp", "--udp", "--unix"):
        isod.send(door, [LINE.format(f"{door} {i}") for i in range(20)])
    isod.wait_events(80)
    web = http.client.HTTPConnection("127.0.0.1", port(sockets["http"]))
    web.request("GET", "/readyz")
    check(web.getresponse().status == 200, "/readyz over a socket that was passed")
    web.close()
    check(not inherited(isod), f"children have {inherited(isod)}")


def waits(isod, sockets, passed):
    """While there is no isod, what is sent waits in the sockets."""
    isod.stop()
    check(os.path.exists(isod.path("isod.sock")) and os.path.exists(isod.path("log.sock")),
          "a socket that is another's was removed")
    open_ones = [tcp_line(sockets["tcp"], f"waits {i}") for i in range(10)]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    local = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    for i in range(10):
        udp.sendto(LINE.format(f"udp waits {i}").encode(), ("127.0.0.1", port(sockets["udp"])))
        local.sendto(LINE.format(f"local waits {i}").encode(), isod.path("log.sock"))
    tls = subprocess.Popen([os.path.join(BUILD, "isoctl"), "send", "--tls", f"127.0.0.1:{port(sockets['tls'])}", "--ca",
                            isod.path("tls", "ca.pem"), "-"], stdin=subprocess.PIPE, text=True)
    tls.stdin.write(LINE.format("tls waits") + "\n")
    tls.stdin.close()
    isod.start_with(passed)
    check(tls.wait(120) == 0, "isoctl send --tls did not get through")
    isod.wait_events(80 + 31)
    # They are whole connections, not what was left of them.
    for c in open_ones:
        c.sendall((LINE.format("and goes on") + "\n").encode())
        c.close()
    udp.close()
    local.close()
    isod.wait_events(80 + 41)


def wrong(isod, sockets, passed):
    """What cannot be is told at the start, with the name of the socket and of the listener."""
    with bound(("127.0.0.1", 0), socket.SOCK_DGRAM) as udp, bound(("127.0.0.1", 0), socket.SOCK_DGRAM) as other:
        said = isod.refused([("tls", udp)])
        check(f"(datagram, 127.0.0.1:{port(udp)}, tls) is meant for listener tls, which takes connections" in said, said)
        isod.listen_at("tcp", f"127.0.0.1:{port(other)}")
        said = isod.refused([(n, other if s is sockets["tcp"] else s) for n, s in passed])
        check(f"127.0.0.1:{port(other)}" in said and "listener tcp, which takes connections" in said, said)
        isod.listen_at("tcp", f"127.0.0.1:{port(sockets['tcp'])}")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        said = isod.refused([("tcp", deaf)])
        check("listener tcp" in said and "does not listen" in said, said)


def left_over(isod, passed):
    with bound(("127.0.0.1", 0)) as extra:
        isod.start_with(passed + [("extra", extra)])
        check(f"(stream, 127.0.0.1:{port(extra)}, extra) was passed to isod but fits nothing" in isod.log(), isod.log())
        isod.stop()


def scenario():
    with Activated("workers: 3\nhttp: {address: \"127.0.0.1:0\"}\n", start=False) as isod:
        sockets = {"tls": bound(("127.0.0.1", 0)), "tcp": bound(("127.0.0.1", 0)),
                   "udp": bound(("::", 0), socket.SOCK_DGRAM), "api": bound(isod.path("isod.sock")),
                   "unix": bound(isod.path("log.sock"), socket.SOCK_DGRAM), "api-tls": bound(("127.0.0.1", 0)),
                   "http": bound(("127.0.0.1", 0))}
        isod.listen_at("tcp", f"127.0.0.1:{port(sockets['tcp'])}")
        isod.listen_at("udp", f"*:{port(sockets['udp'])}")
        # By name where it has to be, as the configuration says port 0; else by address.
        passed = [(n if n in ("tls", "api-tls", "http") else NAMELESS, s) for n, s in sockets.items()]
        isod.start_with(passed)
        served(isod, sockets)
        waits(isod, sockets, passed)
        check(f"the API over TLS uses socket 8 (stream, 127.0.0.1:{port(sockets['api-tls'])}, api-tls)" in isod.log(),
              "the API's TLS socket was not taken")
        isod.stop()
        wrong(isod, sockets, passed)
        left_over(isod, passed)
        for s in sockets.values():
            s.close()


main(scenario)
