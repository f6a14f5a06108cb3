"""What is done to open ports, each attack by a peer of its own against one isod while another peer is served: refused, counted,
the peer named; no growth, nothing lost of the other. (Bombs in HTTP bodies: hec_test.py.)"""
import os
import socket
import ssl
import subprocess
import threading

from harness import BUILD, Failure, Isod, check, ended, main, need

BYSTANDER = "127.0.0.2"
LINE = b"<30>Nov 23 18:00:00 web1 app: line %d of the one who behaves\n"
GROWTH_KIB = 160 << 10  # in all: caches of allocators and of OpenSSL, not what the attacks sent
SETTINGS = """limits:
  handshake_timeout: 1s
  frame_timeout: 2s
  peer_connections_max: 200
  peer_connects: 100
"""
RELP = """
  - {name: relp, kind: relp, address: "127.0.0.1:0"}
rules:"""


class Bystander:
    """Sends line after line over TLS, from another address, for as long as the attacks last."""

    def __init__(self, isod):
        context = ssl.create_default_context(cafile=isod.path("tls", "ca.pem"))
        raw = socket.create_connection(("127.0.0.1", isod.port("tls")), source_address=(BYSTANDER, 0))
        self.peer = context.wrap_socket(raw, server_hostname="localhost")
        self.sent, self.stop, self.isod = 0, threading.Event(), isod
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.stop.wait(0.01):
            self.peer.sendall(LINE % self.sent)
            self.sent += 1

    def served(self):
        """What it has sent by now comes to be counted."""
        sent = self.sent
        self.isod.wait(lambda: self.isod.events(f"tls/{BYSTANDER}") > sent, "the other peer is served meanwhile")

    def close(self):
        self.stop.set()
        self.thread.join()
        self.peer.unwrap()
        self.peer.close()
        self.isod.wait_events(self.sent, f"tls/{BYSTANDER}")


def connect(isod, listener, attacker):
    return socket.create_connection(("127.0.0.1", isod.port(listener)), source_address=(attacker, 0))


def push(peer, data):
    """As much of it as the other side lets happen."""
    try:
        peer.sendall(data)
    except OSError:
        pass


def told(isod, attacker, *words):
    isod.wait(lambda: any(attacker in line and all(w in line for w in words) for line in isod.log().splitlines()),
              f"the log names {attacker} and {words}")


def slow_handshakes(isod, attacker):
    before = isod.listener("tls")["tls_failures"]
    peers = [connect(isod, "tls", attacker) for _ in range(50)]
    for n, peer in enumerate(peers):
        push(peer, b"\x16\x03\x01\x02\x00\x01\x00"[:n % 8])  # nothing, or the begin of a ClientHello
    check(all(ended(p) for p in peers), "handshakes that are not finished in time are given up")
    check(isod.listener("tls")["tls_failures"] - before == 50, "and counted")
    told(isod, attacker, "handshake")


def no_tls(isod, attacker):
    before = isod.listener("tls")["tls_failures"]
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"<30>Nov 23 18:00:00 web1 app: in clear\n", os.urandom(3000), b"\x00" * 100,
                    b"\x16\x03\x01\xff\xff" + b"x" * 70000):
        with connect(isod, "tls", attacker) as peer:
            push(peer, garbage)
            check(ended(peer), "garbage instead of TLS ends the connection")
    check(isod.listener("tls")["tls_failures"] - before == 5, "and is counted")
    told(isod, attacker, "TLS")


def a_byte_at_a_time(isod, attacker):
    """Whole frames, however slow each byte, are taken; one that is too slow as a whole is not waited for."""
    with connect(isod, "tcp", attacker) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in LINE % 1:
            peer.sendall(bytes([byte]))
        isod.wait_events(1, f"tcp/{attacker}")
        peer.sendall(b"<30>Nov 23 18:00:00 web1 app: n")
        check(ended(peer), "a frame that does not come to its end in time closes the connection")
    isod.wait_events(2, f"tcp/{attacker}")
    told(isod, attacker, "frame_timeout")


def no_newline(isod, attacker):
    with connect(isod, "tcp", attacker) as peer:
        peer.sendall(b"<30>Nov 23 18:00:00 web1 app: " + b"A" * (16 << 20))
        isod.wait_events(1, f"tcp/{attacker}")
        check(isod.sources()[f"tcp/{attacker}"]["truncated"] == 1, "it is one frame, cut, however long")
        peer.sendall(b"\n" + LINE % 1)
        isod.wait_events(2, f"tcp/{attacker}")


def counts_that_lie(isod, attacker):
    for count in (b"999999999 ", b"16777217 ", b"99999999999999999999999 "):
        with connect(isod, "tcp", attacker) as peer:
            push(peer, count + b"<30>" + b"x" * 1000)
            check(ended(peer), f"{count!r} is no octet count")
    told(isod, attacker, "framing is lost")
    isod.wait(lambda: isod.sources().get(f"tcp/{attacker}", {}).get("refused_framing") == 3, "each is counted")


def renegotiations(isod, attacker):
    client = subprocess.run([need("openssl"), "s_client", "-tls1_2", "-CAfile", isod.path("tls", "ca.pem"), "-bind", attacker + ":0",
                             "-connect", f"127.0.0.1:{isod.port('tls')}"], input=b"R\n" * 100, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, timeout=100)
    said = client.stdout
    check(b"RENEGOTIATING" in said and b"renegotiation" in said.lower(), f"the client tries: {said[-500:]}")
    check(said.count(b"RENEGOTIATING") == 1, "the first one is the last")


def connects(isod, attacker):
    """As fast as one process can: far more than 100,000 a minute."""
    before = isod.listener("tcp")
    port = isod.port("tcp")
    for _ in range(20):
        crowd = []
        for _ in range(150):  # all at once, so that a busy machine does not make them slow
            peer = socket.socket()
            peer.bind((attacker, 0))
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", port))
            crowd.append(peer)
        for peer in crowd:
            peer.setblocking(True)
            try:
                peer.send(b"\n")
            except OSError:
                pass
            peer.close()

    def seen():
        now = isod.listener("tcp")
        refused, accepted = (now[k] - before[k] for k in ("refused", "accepted"))
        seen.last = f"{refused} refused, {accepted} accepted, {now['connections']} open"
        return refused > 0 and refused + accepted == 3000 and now["connections"] == 0
    try:
        isod.wait(seen, "each is refused or accepted, and gone")
    except Failure as failure:
        raise Failure(f"{failure}: {seen.last}")
    told(isod, attacker, "peer_connects")


def places(isod, attacker):
    """Opens and holds what it gets."""
    before = isod.listener("tcp")["refused"]
    peers = [connect(isod, "tcp", attacker) for _ in range(300)]
    isod.wait(lambda: isod.listener("tcp")["refused"] - before >= 100, "past its places it is refused")
    check(isod.listener("tcp")["connections"] <= 200, "it has no more than these")
    for peer in peers:
        peer.close()


def reads_no_answers(isod, attacker):
    """RELP whose acknowledgements are never read: it is not read either, and when it is gone nothing is left of it."""
    peer = connect(isod, "relp", attacker)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    offer = b"relp_version=0\ncommands=syslog"
    peer.sendall(b"1 open %d %s\n" % (len(offer), offer))
    peer.settimeout(3)
    sent = 0
    try:
        for n in range(2, 2000000):
            frame = LINE.strip() % n
            peer.sendall(b"%d syslog %d %s\n" % (n % 999999999, len(frame), frame))
            sent += 1
    except (TimeoutError, ConnectionError):
        pass
    check(sent < 1999990, "it is made to wait")
    peer.close()
    isod.wait(lambda: isod.listener("relp")["connections"] == 0, "the connection is gone")


def scenario():
    attacks = (no_tls, slow_handshakes, a_byte_at_a_time, no_newline, counts_that_lie, renegotiations, connects, places,
               reads_no_answers)
    with Isod(start=False, settings=SETTINGS) as isod:
        with open(isod.path("isod.yaml")) as f:
            text = f.read().replace("\nrules:", RELP, 1)
        isod.write("isod.yaml", text)
        isod.start()
        bystander = Bystander(isod)
        bystander.served()
        isod.wait(lambda: isod.status()["rules_compiled"], "rules are compiled")
        before = isod.resident_kib()
        for n, attack in enumerate(attacks):
            attack(isod, f"127.0.1.{n + 1}")
            bystander.served()
        bystander.close()
        grown = isod.resident_kib() - before
        print(f"resident: {grown} KiB more than before")
        check("san-" in BUILD or grown < GROWTH_KIB, f"isod has grown by {grown} KiB")


main(scenario)
