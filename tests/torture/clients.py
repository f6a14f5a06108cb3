"""Who sends the numbered events. Each has `allow(n)` (it may send the first n), `progress()` (how many it is rid of),
`done()` (all of them), `check()` (it lives) and `close()`."""
import importlib
import glob
import mmap
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

from harness import BUILD, TOP, check, need
from protobuf_client import Connection

BATCH, WINDOW = 500, 8  # of the producer


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Relp:
    """A real rsyslog reads a file and forwards it with omrelp, through a relay that notes what was acknowledged. omrelp
    corks its socket for a batch: one larger than the window waits 200 ms for each window."""
    listener, window, tls = "relp", 128, False

    def __init__(self, isod, events, port):
        self.events, self.dir, self.book = events, isod.path("rsyslog"), isod.path("book")
        os.mkdir(self.dir)
        self.allowed = 0
        self.allow(0)
        near, = free_ports(1)
        certificates = [isod.path("tls")] if self.tls else []
        options = (f'tls="on" tls.caCert="{isod.path("tls", "ca.pem")}" tls.myCert="{isod.path("tls", "client.pem")}" '
                   f'tls.myPrivKey="{isod.path("tls", "client.key")}" tls.authMode="name" tls.permittedPeer="localhost"')
        self.relay = subprocess.Popen([os.path.join(BUILD, "torture", "relay"), str(near), str(port), str(events.count),
                                       self.book, *certificates])
        with open(self.dir + "/conf", "w") as f:
            f.write(f"""
global(workDirectory="{self.dir}" maxMessageSize="64k")
main_queue(queue.type="LinkedList" queue.size="20000" queue.timeoutEnqueue="3600000" queue.dequeueBatchSize="{self.window}")
module(load="imfile")
module(load="omrelp" tls.tlslib="openssl")
template(name="bare" type="string" string="%msg%")
input(type="imfile" File="{self.dir}/lines" Tag="shipped" Severity="info" Facility="auth")
action(type="omrelp" target="127.0.0.1" port="{near}" template="bare" windowSize="{self.window}"
       action.resumeRetryCount="-1" action.resumeInterval="1" action.resumeIntervalMax="1"
       {options if self.tls else ""})
""")
        with open(self.dir + "/log", "wb") as log:
            self.rsyslog = subprocess.Popen([need("rsyslogd"), "-n", "-f", self.dir + "/conf", "-i", self.dir + "/pid"],
                                            stdout=log, stderr=log)
        while not os.path.exists(self.book) or os.path.getsize(self.book) < 64:
            self.check()
            time.sleep(0.01)
        with open(self.book, "rb") as f:
            self.map = mmap.mmap(f.fileno(), 64, access=mmap.ACCESS_READ)

    def allow(self, end):
        self.events.append(self.dir + "/lines", self.allowed, end)
        self.allowed = max(self.allowed, end)

    def progress(self):
        return struct.unpack_from("<8Q", self.map)[3]

    def done(self):
        return self.progress() == self.events.count

    def check(self):
        check(self.relay.poll() is None, f"the relay ended with {self.relay.poll()}")
        if self.rsyslog.poll() is not None:
            with open(self.dir + "/log", errors="replace") as f:
                check(False, "rsyslogd ended: " + f.read()[-2000:])

    def close(self):
        for process in (self.rsyslog, self.relay):
            process.kill()
            process.wait()


class RelpTls(Relp):
    """The same over TLS, to the relay and from there to isod."""
    listener, tls = "relptls", True


class Client(threading.Thread):
    """One that is written here: connects again and again until all is sent."""

    def __init__(self, isod, events):
        super().__init__(daemon=True)
        self.isod, self.events, self.failure, self.closing = isod, events, None, False
        self.allowed = 0

    def allow(self, end):
        self.allowed = max(self.allowed, end)

    def run(self):
        try:
            while not self.done() and not self.closing:
                try:
                    self.session()
                except (OSError, ssl.SSLError):
                    time.sleep(0.05)
        except Exception as e:
            self.failure = e

    def check(self):
        check(not self.failure, f"{self.listener}: {self.failure!r}")

    def close(self):
        self.closing = True
        self.join(150)


class Producer(Client):
    """isod.v1: keeps what is not acknowledged and sends it again."""
    listener = "producer"

    def __init__(self, isod, events, port):
        super().__init__(isod, events)
        self.port = port
        os.mkdir(isod.path("generated"))
        subprocess.run([need("protoc"), f"--python_out={isod.path('generated')}", "-I", os.path.join(TOP, "proto"),
                        *glob.glob(os.path.join(TOP, "proto", "*.proto"))], check=True)
        if "api_pb2" not in sys.modules:
            sys.path.insert(0, isod.path("generated"))
        self.api = importlib.import_module("api_pb2")
        self.upto = self.resent = 0
        self.start()

    def progress(self):
        return self.upto

    def done(self):
        return self.upto == self.events.count

    def connect(self):
        return Connection(self.isod, self.api)

    def session(self):
        c = self.connect()
        c.send(ingest_hello={"producer": "torture"})
        answer = c.next()
        if answer.HasField("error"):
            check(answer.error.code == self.api.ERROR_UNAVAILABLE, f"hello: {answer.error}")
            raise ConnectionError("not yet")
        check(answer.ingest_ack.upto >= self.upto,
              f"isod forgot what it had acknowledged: {answer.ingest_ack.upto} < {self.upto}")
        # What isod says that it has is not left out here: it must recognise that.
        sent, under_way = self.upto, 0
        while not self.done() and not self.closing:
            while under_way < WINDOW and sent < self.allowed:
                last = min(sent + BATCH, self.allowed)
                c.send(ingest_batch={"producer": "torture", "first": sent + 1,
                                     "frames": [self.events.line(n).encode() for n in range(sent, last)]})
                sent, under_way = last, under_way + 1
            if not under_way:
                time.sleep(0.005)
                continue
            answer = c.next()
            if answer.HasField("error") and answer.error.code == self.api.ERROR_UNAVAILABLE:
                raise ConnectionError("stopping")
            check(answer.HasField("ingest_ack"), f"answer: {answer}")
            check(answer.ingest_ack.upto >= self.upto, "the mark falls")
            self.upto = answer.ingest_ack.upto
            self.resent += answer.ingest_ack.repeated
            under_way -= 1


class ProducerTls(Producer):
    """The same on the API's TLS socket, with a certificate that may hand in events and nothing else."""

    def connect(self):
        context = ssl.create_default_context(cafile=self.isod.path("tls", "ca.pem"))
        context.load_cert_chain(self.isod.path("tls", "client.pem"), self.isod.path("tls", "client.key"))
        raw = socket.create_connection(("127.0.0.1", self.port), 10)
        return Connection(self.isod, self.api, context.wrap_socket(raw, server_hostname="localhost"))


class Tls(Client):
    """Plain syslog over TLS: nobody acknowledges, so what a kill catches on the way is lost, and nothing is sent again.
    Keeps for each connection which events it was given."""
    listener = "tls"
    lines, rate = 50, 10000  # a write; events a second

    def __init__(self, isod, events, port):
        super().__init__(isod, events)
        self.port, self.sent, self.connections = port, 0, []
        self.context = ssl.create_default_context(cafile=isod.path("tls", "ca.pem"))
        self.start()

    def progress(self):
        return self.sent

    def done(self):
        return self.sent == self.events.count

    def session(self):
        raw = socket.create_connection(("127.0.0.1", self.port), 10)
        with self.context.wrap_socket(raw, server_hostname="localhost") as s:
            first = self.sent
            try:
                while not self.done() and not self.closing:
                    last = min(self.sent + self.lines, self.allowed)
                    data = "".join(self.events.line(n) + "\n" for n in range(self.sent, last)).encode()
                    self.sent = last  # a write that fails may have gone in part: these are not sent again
                    if data:
                        s.sendall(data)
                    time.sleep(self.lines / self.rate)
                if self.done():
                    s.unwrap()
            finally:
                if self.sent > first:
                    self.connections.append((first, self.sent - 1))
