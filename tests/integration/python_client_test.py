"""Another language speaks the API: a Python client whose code protoc makes from proto/ lists the incidents over the unix
socket, acknowledges one, watches it change, and does the same over TLS with a client certificate. What its role does
not allow is refused, and what is no request closes the connection."""
import glob
import importlib
import os
import socket
import ssl
import subprocess
import sys

from harness import TOP, Isod, check, main, need, skip

GUESSES = [f"<38>Nov 23 18:00:{n:02} web1 sshd[1]: Failed password for root from 203.0.113.{a} port 1 ssh2"
           for a in (5, 6) for n in range(12)]


class Client:
    def __init__(self, api, connection):
        self.api, self.connection, self.buffer, self.id = api, connection, b"", 0

    def ask(self, **what):
        self.id += 1
        request = self.api.Request(id=self.id, **what)
        body = request.SerializeToString()
        self.connection.sendall(varint(len(body)) + body)
        response = self.next()
        check(response.id == self.id, "the answer carries the request's id")
        return response

    def next(self):
        while True:
            size, at = unvarint(self.buffer)
            if size is not None and len(self.buffer) >= at + size:
                response = self.api.Response.FromString(self.buffer[at:at + size])
                self.buffer = self.buffer[at + size:]
                return response
            data = self.connection.recv(65536)
            check(data, "the connection was closed")
            self.buffer += data

    def closed(self):
        while self.connection.recv(65536):
            pass
        return True


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def unvarint(data):
    n = shift = 0
    for at, byte in enumerate(data[:10]):
        n |= (byte & 127) << shift
        if byte < 128:
            return n, at + 1
        shift += 7
    return None, 0


def generate(folder):
    subprocess.run([need("protoc"), f"--python_out={folder}", "-I", os.path.join(TOP, "proto"),
                    *glob.glob(os.path.join(TOP, "proto", "*.proto"))], check=True)
    sys.path.insert(0, folder)
    return importlib.import_module("api_pb2"), importlib.import_module("incident_pb2"), importlib.import_module("event_pb2")


def unix_client(isod, api):
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(isod.path("isod.sock"))
    return Client(api, connection)


def tls_client(isod, api, certificate):
    context = ssl.create_default_context(cafile=isod.path("tls", "ca.pem"))
    if certificate:
        context.load_cert_chain(isod.path("tls", certificate + ".pem"), isod.path("tls", certificate + ".key"))
    port = int(os.environ["ISOD_TEST_API_PORT"])
    connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 60), server_hostname="localhost")
    return Client(api, connection)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def scenario():
    try:
        import google.protobuf  # noqa: F401
    except ImportError:
        skip("no python3-protobuf here")
    with Isod(start=False) as isod:
        port = free_port()
        os.environ["ISOD_TEST_API_PORT"] = str(port)
        with open(isod.path("isod.yaml")) as f:
            text = f.read().replace('address: "127.0.0.1:0"', f'address: "127.0.0.1:{port}"')
        isod.write("isod.yaml", text)
        isod.start()
        os.mkdir(isod.path("generated"))
        api, incident, event = generate(isod.path("generated"))
        isod.send("--tcp", GUESSES)
        isod.wait(lambda: len(isod.incidents()) == 2, "two incidents")
        unix(isod, api, incident, event)
        over_tls(isod, api, incident)
        nonsense(isod, api)


def unix(isod, api, incident, event):
    client, watcher = unix_client(isod, api), unix_client(isod, api)
    check(watcher.ask(watch={}).HasField("watching"), "a watch begins")
    listed = client.ask(list_incidents={"min_severity": event.LEVEL_LOW}).incidents.incidents
    check(len(listed) == 2 and listed[0].id > listed[1].id, "both are listed, the newest first")
    check(all(i.state == incident.INCIDENT_DETECTED for i in listed), "and nobody has them")
    done = client.ask(acknowledge={"incident": listed[0].id, "note": "from Python"})
    check(done.incident.state == incident.INCIDENT_TRIAGED and done.incident.owner, "acknowledged")
    told = watcher.next()
    check(told.incident.id == listed[0].id and told.incident.state == incident.INCIDENT_TRIAGED, "the watcher is told")
    again = client.ask(acknowledge={"incident": listed[0].id})
    check(again.error.code == api.ERROR_CONFLICT, "a second acknowledgement is a conflict")
    check(client.ask(acknowledge={"incident": 4711}).error.code == api.ERROR_NOT_FOUND, "no such incident")
    check(client.ask().error.code == api.ERROR_BAD_REQUEST, "a request that asks nothing")
    status = client.ask(status={"sources": True}).status
    check(status.incidents_open == 2 and status.your_role == 3, "status")
    check(len(client.ask(risk={"limit": 5}).risk.entities) >= 2, "risk")
    check(client.ask(metrics={"scope": "rule"}).metrics.series, "metrics")


def over_tls(isod, api, incident):
    client = tls_client(isod, api, "client")
    status = client.ask(status={}).status
    check("forwarder" in status.you and status.your_role == 2, f"known by its certificate: {status.you}")
    listed = client.ask(list_incidents={"states": [incident.INCIDENT_DETECTED]}).incidents.incidents
    check(len(listed) == 1, "the filter by state")
    closed = client.ask(close={"incident": listed[0].id, "disposition": incident.DISPOSITION_FALSE_POSITIVE})
    check(closed.incident.state == incident.INCIDENT_CLOSED, "closed over TLS")
    try:
        stranger = tls_client(isod, api, None)
        stranger.ask(status={})
        check(False, "a client without a certificate was answered")
    except (ssl.SSLError, ConnectionError, OSError):
        pass


def nonsense(isod, api):
    client = unix_client(isod, api)
    client.connection.sendall(varint(1 << 30) + b"x" * 100)
    check(client.next().error.code == api.ERROR_TOO_LARGE and client.closed(), "an oversized request")
    client = unix_client(isod, api)
    client.connection.sendall(varint(5) + b"\xff\xff\xff\xff\xff")
    check(client.next().error.code == api.ERROR_BAD_REQUEST and client.closed(), "garbage")
    client = unix_client(isod, api)
    client.connection.sendall(b"\xff" * 20)
    check(client.next().error.code == api.ERROR_BAD_REQUEST and client.closed(), "no length")
    check(isod.answers(), "isod is up")


main(scenario)
