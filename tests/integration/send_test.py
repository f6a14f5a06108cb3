"""isoctl send against servers that are not isod: what arrives is what the file holds, framed as asked; and when it did
not arrive (reset, refused certificate, nobody there), the exit status and a reason say so."""
import json
import os
import socket
import ssl
import struct
import subprocess
import tempfile
import threading

from harness import BUILD, check, main

LINES = [b"<13>first", b"2026-11-23T18:00:00Z second", b"7 third", "<13>f\u00fcnfte".encode(), b"\xff\xfe\x00odd", b"x" * 100000]
FILE = b"\n".join(LINES[:3]) + b"\n\n\n" + b"\n".join(LINES[3:])  # two empty lines, no newline at the end


def send(*arguments, data=FILE):
    return subprocess.run([os.path.join(BUILD, "isoctl"), "--json", "send", *arguments, "-"], input=data,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)


def report(done, status=0):
    check(done.returncode == status, f"exit status {done.returncode} instead of {status}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout) if done.stdout else None


class Server:
    """Takes one connection, reads it to its end (or does what `serve` says) and keeps what came."""

    def __init__(self, context=None, serve=None):
        self.received, self.context, self.serve = b"", context, serve or self.read_all
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listening.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listening.close()

    def read_all(self, s):
        while part := s.recv(65536):
            self.received += part
        if self.context:
            s.unwrap()

    def run(self):
        s, _ = self.listening.accept()
        try:
            with s if not self.context else self.context.wrap_socket(s, server_side=True) as s:
                self.serve(s)
        except OSError:  # ssl.SSLError is one
            s.close()


def counted(lines):
    return b"".join(b"%d %s" % (len(line), line) for line in lines)


def streams(folder):
    with Server() as server:
        told = report(send("--tcp", server.address))
    check(server.received == b"".join(line + b"\n" for line in LINES), "newline framing")
    check(told["frames"] == 6 and told["empty"] == 2 and told["bytes"] == sum(map(len, LINES)), f"report: {told}")
    with Server() as server:
        report(send("--tcp", server.address, "--framing", "octet"))
    check(server.received == counted(LINES), "octet counting")
    with Server(server_context(folder)) as server:
        report(send("--tls", server.address, "--ca", folder + "/ca.pem"))
    check(server.received == counted(LINES), "octet counting is usual over TLS")
    with Server() as server:
        report(send("--tcp", server.address, "--format", "rfc5424", data=b"words\n"))
    check(server.received.startswith(b"<13>1 20") and server.received.endswith(b" isoctl - - - words\n"), "RFC 5424")
    with Server() as server:
        report(send("--tcp", server.address, "--format", "rfc3164", data=b"words\n"))
    check(server.received.startswith(b"<13>") and server.received.endswith(b" isoctl: words\n"), "RFC 3164")


def datagrams(folder):
    for family, address, option in ((socket.AF_INET, ("127.0.0.1", 0), "--udp"), (socket.AF_UNIX, folder + "/sock", "--unix")):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            s.bind(address)
            name = s.getsockname()
            told = report(send(option, name if option == "--unix" else "%s:%d" % name), 1 if option == "--udp" else 0)
            lines = LINES[:5] if option == "--udp" else LINES  # no datagram of UDP is so long
            check(told["frames"] == len(lines) and told["too_long"] == 6 - len(lines), f"report: {told}")
            check([s.recv(1 << 20) for _ in lines] == lines, "one datagram a line")


def trouble(folder):
    def reset(s):
        s.recv(10)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with Server(serve=reset) as server:
        done = send("--tcp", server.address)
        check(report(done, 1)["error"] and b"reset" in done.stderr, f"a reset is told: {done.stderr}")
    with Server(server_context(folder, ssl.CERT_REQUIRED)) as server:
        done = send("--tls", server.address, "--ca", folder + "/ca.pem")
        check(done.returncode in (1, 3) and b"certificate" in done.stderr, f"no certificate: {done.stderr}")
    with Server(server_context(folder, ssl.CERT_REQUIRED)) as server:
        report(send("--tls", server.address, "--ca", folder + "/ca.pem", "--cert", folder + "/server.pem", "--key",
                    folder + "/server.key"))
    check(server.received == counted(LINES), "with a certificate")
    with Server(server_context(folder)) as server:
        done = send("--tls", server.address, "--ca", folder + "/other.pem")
        check(done.returncode == 3 and b"CA" in done.stderr, f"the server's CA is checked: {done.stderr}")
    with Server(server_context(folder)) as server:
        report(send("--tls", server.address, "--insecure"))
    with socket.create_server(("127.0.0.1", 0)) as s:
        nobody = "127.0.0.1:%d" % s.getsockname()[1]
    for arguments, status in ((("--tcp", nobody), 3), (("--tcp", "127.0.0.1"), 3), (("--unix", folder + "/none"), 3),
                              (("--tls", nobody, "--ca", folder + "/none"), 2), ((), 2), (("--tcp", nobody, "--udp", nobody), 2),
                              (("--tcp", nobody, "--framing", "odd"), 2), (("--tcp", nobody, "--fromat", "raw"), 2)):
        done = send(*arguments)
        check(done.returncode == status and done.stderr, f"{arguments}: {done.returncode} {done.stderr}")


def server_context(folder, verify=ssl.CERT_NONE):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder + "/server.pem", folder + "/server.key")
    context.load_verify_locations(folder + "/ca.pem")
    context.verify_mode = verify
    return context


def make_certificates(folder):
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    for name, more in (("ca", []), ("other", []), ("server", ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext",
                                                             "basicConstraints=critical,CA:FALSE", "-addext",
                                                             "subjectAltName=IP:127.0.0.1"])):
        subprocess.run([*new, "-keyout", name + ".key", "-out", name + ".pem", "-subj", "/CN=" + name, *more], cwd=folder,
                       check=True, stderr=subprocess.DEVNULL)


def scenario():
    with tempfile.TemporaryDirectory(prefix="isod-test-") as folder:
        make_certificates(folder)
        streams(folder)
        datagrams(folder)
        trouble(folder)


main(scenario)
