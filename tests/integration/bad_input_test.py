"""What peers do wrong, each on the real doors, while an honest peer is served: it is counted, told in the log, costs at
most its own connection, and nothing good is lost with it."""
import os
import socket
import ssl
import subprocess

from harness import Isod, check, main

GOOD = "<30>Nov 23 18:00:00 web1 app: honest line"


def tcp(isod, data, half_close=True):
    """Sends and reads until the other side closes; True if it did."""
    with socket.create_connection(("127.0.0.1", isod.port("tcp")), 60) as s:
        s.sendall(data)
        if half_close:
            s.shutdown(socket.SHUT_WR)
        try:
            while s.recv(4096):
                pass
        except ConnectionError:
            pass
        return True


def counted(isod, condition, what):
    isod.wait(lambda: condition(isod.status()), what)


def frames(isod):
    before = isod.events("tcp/")
    tcp(isod, b"<30>one\x00with\x00nul \xff\xfe not utf-8\n" + GOOD.encode() + b"\n12 <30>counted\n!" + GOOD.encode())
    isod.wait_events(before + 4, "tcp/")
    before, truncated = isod.events("tcp/"), isod.sources()["tcp/127.0.0.1"]["truncated"]
    tcp(isod, b"<30>" + b"x" * 200000 + b"\n" + GOOD.encode() + b"\n")
    isod.wait_events(before + 2, "tcp/")
    check(isod.sources()["tcp/127.0.0.1"]["truncated"] == truncated + 1, "the long one is kept, cut and counted")
    before, refused = isod.events("tcp/"), isod.listener("tcp")["refused"]
    # An octet count that lies: what came before counts, the connection is closed by isod.
    tcp(isod, GOOD.encode() + b"\n" + b"99999999999 <30>liar" * 10, half_close=False)
    isod.wait_events(before + 1, "tcp/")
    check(isod.listener("tcp")["refused"] > refused, "the lost framing is counted")
    check("99999999999" in isod.log() and "127.0.0.1" in isod.log(), "and logged with the peer's name")


def tls(isod):
    failures = isod.listener("tls")["tls_failures"]
    with socket.create_connection(("127.0.0.1", isod.port("tls")), 60) as s:
        s.sendall(b"<30>plain text to the TLS port\n" * 10)
        try:
            while s.recv(4096):
                pass
        except ConnectionError:
            pass
    counted(isod, lambda _: isod.listener("tls")["tls_failures"] > failures, "plain text on the TLS port is counted")
    # A certificate from a CA that is not ours.
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    isod.path("bad.key"), "-out", isod.path("bad.pem"), "-days", "2", "-subj", "/CN=stranger"],
                   check=True, stderr=subprocess.DEVNULL)
    failures = isod.listener("tls")["tls_failures"]
    context = ssl.create_default_context(cafile=isod.path("tls", "ca.pem"))
    context.load_cert_chain(isod.path("bad.pem"), isod.path("bad.key"))
    try:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", isod.port("tls")), 60),
                                 server_hostname="localhost") as s:
            s.sendall(b"10 <30>a line")
            check(s.recv(1) == b"", "a stranger's certificate was taken")
    except (ssl.SSLError, ConnectionError):
        pass
    counted(isod, lambda _: isod.listener("tls")["tls_failures"] > failures, "a stranger's certificate is counted")
    # A TLS stream cut off without close_notify: what had arrived is processed.
    before = isod.events("tls/")
    context = ssl.create_default_context(cafile=isod.path("tls", "ca.pem"))
    s = context.wrap_socket(socket.create_connection(("127.0.0.1", isod.port("tls")), 60), server_hostname="localhost")
    line = GOOD.encode()
    s.sendall(b"%d %s" % (len(line), line) * 50)
    raw = s.detach()
    os.close(raw)
    isod.wait_events(before + 50, "tls/")


def datagrams(isod):
    before = isod.events("udp/")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for data in (b"", b"\n", b"\x00", b"<30>a\n", b"\xff" * 100, b"<999>Nov 99 99:99:99 x", b"<30>" + b"y" * 60000):
            s.sendto(data, ("127.0.0.1", isod.port("udp")))
    isod.wait_events(before + 4, "udp/")


def too_large(isod):
    """Fields past a limit are left out: counted, and told once with the source's name, however many come."""
    def count():
        return next(c["value"] for c in isod.status()["counters"] if c["name"] == "ingest_events_incomplete")

    check(count() == 0, "nothing was too large so far")
    before = isod.events("tcp/")
    wide = "{%s}" % ",".join(f'"f{n}":1' for n in range(5000))
    deep = '{"a":' * 200 + "1" + "}" * 200
    tcp(isod, "\n".join([wide, deep] * 20 + [""]).encode())
    isod.wait_events(before + 40, "tcp/")
    check(count() == 40, f"{count()} of 40 too large events counted")
    told = [line for line in isod.log().splitlines() if "more than rules look at" in line]
    check(len(told) == 1 and "tcp/127.0.0.1" in told[0], str(told))
    check("ingest_events_incomplete" in isod.isoctl("status").stdout, "isoctl status shows it")


def own_events(isod):
    """isod's own troubles are events, and its own rules see them."""
    isod.wait(lambda: sum(s["received"] for n, s in isod.sources().items() if n.startswith("isod/")) >= 3, "own events")


def scenario():
    with Isod() as isod:
        honest = socket.create_connection(("127.0.0.1", isod.port("tcp")), 60)
        honest.sendall(GOOD.encode() + b"\n")
        isod.wait_events(1, "tcp/")
        for attack in (frames, tls, datagrams, too_large):
            attack(isod)
            before = isod.events("tcp/")
            honest.sendall(GOOD.encode() + b"\n")
            isod.wait_events(before + 1, "tcp/")
        honest.close()
        own_events(isod)
        check("\x00" not in isod.log() and "\x1b" not in isod.log(), "peers' control characters are escaped in the log")
        for s in isod.sources().values():
            check(s["received"] == s["matched"] + s["unmatched"] + s["undecoded"] + s["refused"] + s["shed"],
                  f"account of {s['source']}")


main(scenario)
