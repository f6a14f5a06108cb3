#!/usr/bin/python3
"""The webhook plugin against real HTTP and HTTPS receivers: what it sends (body, signature, key), what it refuses to
send (bad certificates, redirects, plain HTTP), and what it makes of every kind of answer. The signature is checked with
Python's own hmac, certificates are made with openssl."""
import hashlib
import hmac
import http.server
import json
import os
import socket
import ssl
import subprocess
import threading
import time
import unittest
import warnings

import plugin_driver
from plugin_driver import DELIVERED, FAILED, RETRY, FOLDER, Plugin, sample_incident, setup_error, write_file

WEBHOOK = os.path.join(plugin_driver.BUILD, "plugins", "webhook")
SECRET = "correct horse battery staple"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.command, self.path, self.headers, body))
        kind = self.path.strip("/")
        if kind == "silent":
            self.server.released.wait(plugin_driver.PATIENCE)
            self.close_connection = True
        elif kind == "hangup":
            self.close_connection = True
        elif kind == "endless":
            self.send_response(200)
            self.send_header("Content-Type", "text/plain")
            self.end_headers()
            self.close_connection = True
            try:
                while not self.server.released.is_set():
                    self.wfile.write(b"spam " * 10000)
            except OSError:
                pass
        elif kind == "headers":
            self.close_connection = True
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                while not self.server.released.is_set():
                    self.wfile.write(b"X-More: " + b"y" * 5000 + b"\r\n")
            except OSError:
                pass
        elif kind == "garbage":
            self.wfile.write(b"220 smtp.example.org ESMTP\r\n\r\n")
            self.close_connection = True
        else:
            status = int(kind or 200)
            text = b"" if status == 204 else b"first \xff\x1b[31mline\nsecond line"
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "17")
            if 300 <= status < 400:
                self.send_header("Location", "/200")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    do_POST = do_PUT = do_PATCH = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # handshakes that fail are part of the tests


class Receiver:
    """An HTTP server in a thread; with `tls` an HTTPS one."""

    def __init__(self, tls=None):
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.requests = []
        self.server.released = threading.Event()
        self.port = self.server.server_port
        if tls:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def close(self):
        self.server.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def last(self):
        return self.server.requests[-1]


def openssl(*args):
    subprocess.run(["openssl", *args], cwd=FOLDER, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_ca(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-days", "2", "-keyout", f"{name}.key", "-out", f"{name}.pem")


def make_certificate(name, ca, san, days="2"):
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr")
    write_file(f"{name}.ext", f"subjectAltName={san}\n")
    openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial",
            "-days", days, "-extfile", f"{name}.ext", "-out", f"{name}.pem")


def server_tls(name, client_ca=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(FOLDER, f"{name}.pem"), os.path.join(FOLDER, f"{name}.key"))
    if client_ca:
        context.load_verify_locations(os.path.join(FOLDER, f"{client_ca}.pem"))
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class Setup(unittest.TestCase):
    def test_each_unusable_option_is_named(self):
        write_file("empty", "\n")
        write_file("bad.template", '{"a": 1,\n "b": "{{titel}}"}')
        good = {"url": "https://localhost/"}
        cases = [
            ({}, "option url: is missing"),
            ({"url": "not a url"}, "option url: no URL such as https://host/path"),
            ({"url": "ftp://host/"}, "option url: ftp:// is not supported, only https://"),
            ({"url": "file:///etc/passwd"}, "option url: file:// is not supported, only https://"),
            ({"url": "http://host/"}, "option url: http:// sends alerts in the clear; use https://, or set allow_plain "
                                      "to true to accept that"),
            ({"url": "http://host/", "allow_plain": "maybe"}, "option allow_plain: neither true nor false"),
            ({**good, "methd": "PUT"}, 'unknown option "methd"; did you mean "method"?'),
            ({**good, "insecure": "true"}, 'unknown option "insecure"'),
            ({**good, "headers.": "x"}, "option headers.: not a header that can be set"),
            ({**good, "method": "GET"}, "option method: none of POST, PUT, PATCH"),
            ({**good, "timeout": "soon"}, 'option timeout: no duration such as "10s" or "1m"'),
            ({**good, "timeout": "0"}, 'option timeout: no duration such as "10s" or "1m"'),
            ({**good, "ca": "nowhere.pem"}, "option ca: cannot read nowhere.pem: No such file or directory"),
            ({**good, "cert": "empty"}, "options cert and key: both or none"),
            ({**good, "secret": "a", "secret_file": "empty"}, "options secret and secret_file: only one of them"),
            ({**good, "secret_file": "nowhere"}, "option secret_file: cannot read nowhere: No such file or directory"),
            ({**good, "secret_file": "empty"}, "option secret_file: is empty"),
            ({**good, "secret": "x" * 5000}, "option secret: longer than 4096 bytes"),
            ({**good, "template": "{}", "template_file": "empty"},
             "options template and template_file: only one of them"),
            ({**good, "template_file": "bad.template"},
             'template, line 2: unknown field "titel"; did you mean "title"?'),
            ({**good, "template": '{"a":"{{title"}'}, 'template, line 1: "{{" without "}}"'),
            ({**good, "template": '{{}}'}, 'template, line 1: unknown field ""'),
            ({**good, "template": "x" * 70000}, "template: longer than 65536 bytes"),
            ({**good, "headers.X-A": "one\r\nX-B: two"}, "option headers.X-A: not a header that can be set"),
            ({**good, "headers.X A": "one"}, "option headers.X A: not a header that can be set"),
            ({**good, "headers.idempotency-key": "1"}, "option headers.idempotency-key: not a header that can be set"),
        ]
        for options, expected in cases:
            with self.subTest(expected):
                self.assertEqual(setup_error(WEBHOOK, **options), expected)

    def test_another_protocol_is_refused(self):
        self.assertEqual(setup_error(WEBHOOK, protocol=2, url="https://localhost/"),
                         "isod speaks protocol 2, this plugin 1")

    def test_after_a_refusal_it_still_listens_to_a_better_setup(self):
        with Plugin(WEBHOOK) as p:
            self.assertNotEqual(p.setup(), "")
            self.assertEqual(p.setup(url="https://localhost/"), "")
        self.assertEqual(p.status, 0)


class Plain(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.receiver = Receiver()

    @classmethod
    def tearDownClass(cls):
        cls.receiver.close()

    def options(self, path="", **more):
        return {"url": f"http://127.0.0.1:{self.receiver.port}/{path}", "allow_plain": "true", **more}

    def test_the_default_body_is_the_incident_as_json(self):
        with Plugin(WEBHOOK, self.options()) as p:
            self.assertEqual(p.alert("node1:7:42", attempt=3), (DELIVERED, "HTTP 200"))
        method, _, headers, body = self.receiver.last()
        told = json.loads(body)
        self.assertEqual(method, "POST")
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(headers["Idempotency-Key"], "node1:7:42")
        self.assertIsNone(headers["X-Isod-Signature"])
        self.assertEqual(told["key"], "node1:7:42")
        self.assertEqual(told["attempt"], 3)
        self.assertEqual(told["test"], False)
        self.assertEqual(told["reason"], "opened")
        self.assertEqual(told["summary"],
                         "[high] incident 12: Password guessing; user alice@web1, address 192.0.2.7, host web1; "
                         "31 matches, 2023-11-14T22:13:20.000Z to 2023-11-14T22:14:50.000Z")
        self.assertEqual(told["incident"]["id"], 12)
        self.assertEqual(told["incident"]["severity"], "high")
        self.assertEqual(told["incident"]["entities"][1], {"kind": "address", "name": "192.0.2.7"})

    def test_every_field_of_a_template(self):
        names = ["summary", "key", "attempt", "reason", "node", "test", "id", "title", "severity", "state", "opened",
                 "changed", "first", "last", "matches", "entities", "users", "hosts", "addresses", "tactics",
                 "techniques", "rules", "owner", "note"]
        text = "{" + ",".join(f'"{n}": "{{{{ {n} }}}}"' for n in names) + ', "whole": {{json}}}'
        write_file("all.template", text)
        with Plugin(WEBHOOK, self.options(template_file="all.template", method="PUT")) as p:
            self.assertEqual(p.alert()[0], DELIVERED)
        method, _, _, body = self.receiver.last()
        told = json.loads(body)
        self.assertEqual(method, "PUT")
        self.assertEqual(set(told), set(names) | {"whole"})
        for name, value in {"id": "12", "state": "detected", "severity": "high", "users": "alice@web1", "hosts": "web1",
                            "addresses": "192.0.2.7", "tactics": "credential-access, privilege-escalation",
                            "rules": "Failed logons", "first": "2023-11-14T22:13:20.000Z", "owner": "",
                            "test": "false"}.items():
            self.assertEqual(told[name], value, name)

    def test_what_an_attacker_names_stays_inside_its_string(self):
        hostile = 'x","admin":true,"y":"\\\x00\x01\n\u2028</script>{{json}}🙂'
        i = sample_incident(title=hostile)
        i.entities[0].name = hostile
        with Plugin(WEBHOOK, self.options(template='{"t":"{{title}}","u":"{{users}}","i":{{json}}}')) as p:
            self.assertEqual(p.alert(incident=i)[0], DELIVERED)
        told = json.loads(self.receiver.last()[3])
        self.assertEqual(set(told), {"t", "u", "i"})
        kept = hostile.split("\x00")[0]  # C strings end there
        self.assertEqual(told["t"], kept)
        self.assertEqual(told["u"], kept)
        self.assertEqual(told["i"]["title"], kept)

    def test_the_signature_covers_time_and_body(self):
        write_file("secret", SECRET + "\n", 0o600)
        for how in ({"secret": SECRET}, {"secret_file": "secret"}):
            before = int(time.time())
            with Plugin(WEBHOOK, self.options(**how)) as p:
                self.assertEqual(p.alert()[0], DELIVERED)
            self.assertNotIn(SECRET, p.errors)
            _, _, headers, body = self.receiver.last()
            stamp = headers["X-Isod-Timestamp"]
            mac = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
            self.assertEqual(headers["X-Isod-Signature"], "sha256=" + mac)
            self.assertTrue(before <= int(stamp) <= time.time())

    def test_headers_of_the_operator(self):
        with Plugin(WEBHOOK, self.options(headers__X_Team="soc", headers__Authorization="Bearer x", template="hi",
                                          **{"headers.content-type": "text/plain", "headers.X-Empty": ""})) as p:
            self.assertEqual(p.alert()[0], DELIVERED)
        headers, body = self.receiver.last()[2:]
        self.assertEqual(headers["X_Team"], "soc")
        self.assertEqual(headers["Authorization"], "Bearer x")
        self.assertEqual(headers["X-Empty"], "")
        self.assertEqual(headers.get_all("Content-Type"), ["text/plain"])
        self.assertEqual(body, b"hi")

    def test_each_status_has_its_outcome(self):
        shown = ": first \\xff\\x1b[31mline"
        cases = [
            (200, DELIVERED, "HTTP 200"), (202, DELIVERED, "HTTP 202"), (204, DELIVERED, "HTTP 204"),
            (301, FAILED, "HTTP 301, redirects are not followed" + shown),
            (307, FAILED, "HTTP 307, redirects are not followed" + shown),
            (400, FAILED, "HTTP 400" + shown), (401, FAILED, "HTTP 401" + shown), (404, FAILED, "HTTP 404" + shown),
            (408, RETRY, "HTTP 408" + shown), (429, RETRY, "HTTP 429, retry after 17 s" + shown),
            (500, RETRY, "HTTP 500" + shown), (503, RETRY, "HTTP 503" + shown),
        ]
        for status, outcome, detail in cases:
            with self.subTest(status):
                count = len(self.receiver.server.requests)
                with Plugin(WEBHOOK, self.options(str(status))) as p:
                    self.assertEqual(p.alert(), (outcome, detail))
                self.assertEqual(len(self.receiver.server.requests), count + 1)

    def test_a_receiver_that_never_answers_costs_the_time_out(self):
        with Plugin(WEBHOOK, self.options("silent", timeout="300ms")) as p:
            outcome, detail = p.alert()
        self.assertEqual(outcome, RETRY)
        self.assertIn("timed out", detail)

    def test_a_broken_answer_is_tried_again(self):
        for kind in ("hangup", "garbage"):
            with self.subTest(kind), Plugin(WEBHOOK, self.options(kind)) as p:
                outcome, detail = p.alert()
                self.assertEqual(outcome, RETRY)
                self.assertNotEqual(detail, "")

    def test_an_endless_answer_is_cut_off(self):
        with Plugin(WEBHOOK, self.options("endless", timeout="1m")) as p:
            self.assertEqual(p.alert(), (DELIVERED, "HTTP 200"))

    def test_endless_headers_are_cut_off(self):
        with Plugin(WEBHOOK, self.options("headers", timeout="1m")) as p:
            p.alert()  # what counts is that it comes back

    def test_nobody_there(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{s.getsockname()[1]}/password-in-the-path"
            with Plugin(WEBHOOK, {"url": url, "allow_plain": "yes"}) as p:
                outcome, detail = p.alert()
        self.assertEqual(outcome, RETRY)
        self.assertIn("Failed to connect", detail)
        self.assertNotIn("password", detail)

    def test_a_name_that_does_not_exist(self):
        with Plugin(WEBHOOK, {"url": "https://nowhere.invalid/"}) as p:
            outcome, detail = p.alert()
        self.assertEqual(outcome, RETRY)
        self.assertIn("nowhere.invalid", detail)

    def test_alerts_sent_together_are_each_answered(self):
        keys = [f"node1:{n}:1" for n in range(1, 41)]
        with Plugin(WEBHOOK, self.options()) as p:
            for key in keys:
                p.send_alert(key)
            p.process.stdin.close()  # what was said before the end still counts
            self.assertEqual([p.receive_answer().key for _ in keys], keys)
        self.assertEqual(p.status, 0)

    def test_a_large_incident(self):
        i = sample_incident()
        for n in range(1500):
            i.timeline.add(time_ns=n, text='"' * 500)
        with Plugin(WEBHOOK, self.options()) as p:
            self.assertEqual(p.alert(incident=i)[0], DELIVERED)
        self.assertEqual(len(json.loads(self.receiver.last()[3])["incident"]["timeline"]), 1501)

    def test_an_alert_without_an_incident(self):
        with Plugin(WEBHOOK, self.options()) as p:
            m = plugin_driver.plugin_pb2.ToPlugin()
            m.alert.key = "k"
            p.send(m)
            self.assertEqual(p.receive_answer().outcome, DELIVERED)

    def test_nonsense_ends_it(self):
        for data in (b"\xff" * 12, b"\x05hello", b"\x00"):
            with Plugin(WEBHOOK) as p:
                p.process.stdin.write(data)
            self.assertEqual(p.status, 1)


class Tls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        make_ca("ca")
        make_ca("other-ca")
        make_certificate("server", "ca", "DNS:localhost,IP:127.0.0.1")
        make_certificate("stranger", "ca", "DNS:example.org")
        make_certificate("client", "ca", "DNS:isod")

    def exchange(self, tls, host="localhost", path="", **options):
        receiver = Receiver(tls)
        try:
            with Plugin(WEBHOOK, {"url": f"https://{host}:{receiver.port}/{path}", **options}) as p:
                return p.alert(), receiver.server.requests
        finally:
            receiver.close()

    def test_a_certificate_of_the_configured_ca(self):
        for host in ("localhost", "127.0.0.1"):
            (outcome, detail), requests = self.exchange(server_tls("server"), host, ca="ca.pem")
            self.assertEqual((outcome, detail, len(requests)), (DELIVERED, "HTTP 200", 1))

    def test_bad_certificates_get_nothing(self):
        cases = [
            ("another CA", "server", {"ca": "other-ca.pem"}),
            ("the system's CAs", "server", {}),
            ("another name", "stranger", {"ca": "ca.pem"}),
        ]
        for why, server, options in cases:
            with self.subTest(why):
                (outcome, detail), requests = self.exchange(server_tls(server), **options)
                self.assertEqual((outcome, requests), (RETRY, []))
                self.assertIn("SSL", detail)

    def test_old_tls_gets_nothing(self):
        context = server_tls("server")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")
        (outcome, _), requests = self.exchange(context, ca="ca.pem")
        self.assertEqual((outcome, requests), (RETRY, []))

    def test_a_client_certificate(self):
        context = server_tls("server", client_ca="ca")
        (outcome, detail), _ = self.exchange(context, ca="ca.pem", cert="client.pem", key="client.key")
        self.assertEqual((outcome, detail), (DELIVERED, "HTTP 200"))
        context = server_tls("server", client_ca="ca")
        (outcome, _), requests = self.exchange(context, ca="ca.pem")
        self.assertEqual((outcome, requests), (RETRY, []))

    def test_https_is_not_spoken_to_in_the_clear(self):
        receiver = Receiver()
        try:
            with Plugin(WEBHOOK, {"url": f"https://localhost:{receiver.port}/", "ca": "ca.pem"}) as p:
                self.assertEqual(p.alert()[0], RETRY)
            self.assertEqual(receiver.server.requests, [])
        finally:
            receiver.close()


if __name__ == "__main__":
    unittest.main()
