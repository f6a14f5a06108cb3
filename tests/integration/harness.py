"""What the scenarios share: an isod of their own in a temporary folder, with certificates, configuration and an HTTPS
receiver for alerts. Nothing it starts outlives it. Conditions are waited for, never timed.

    with Isod() as isod:
        isod.send("--tls", lines)
        isod.wait(lambda: isod.events() == len(lines), "all lines became events")
"""
import hashlib
import hmac
import http.server
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
SHARED = os.environ.get("ISOD_SHARED", os.path.join(TOP, "..", "shared"))
SECRET = "s3cr3t"  # of a Receiver and the webhook that tells it
WAIT_SECONDS = int(os.environ.get("ISOD_TEST_WAIT", "120"))  # generous: a busy machine is not a failure


class Failure(Exception):
    """Something that must hold did not."""


def skip(reason):
    print("skipped: " + reason)
    sys.exit(77)


def need(program):
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    return path or skip(f"no {program} here")


def check(holds, what):
    if not holds:
        raise Failure(what)


def corpus(name):
    """A file of the shared corpus, or None: a user's clone has none."""
    path = os.path.join(SHARED, "corpus", name)
    return path if os.path.exists(path) else None


class Isod:
    def __init__(self, settings=None, routes="", plugins="", start=True, env=None):
        """settings: text appended to isod.yaml; plugins, routes: YAML lists for escalation.yaml."""
        self.dir = tempfile.mkdtemp(prefix="isod-test-")
        self.process = None
        self.before_exec = None  # called in the process that becomes isod
        self.env = {**os.environ, **(env or {})}
        if plugins or routes:
            self.escalate(plugins, routes)
        ports = {"ISOD_TLS_PORT": "0", "ISOD_PORT": "0", "ISOD_API_PORT": "0", "ISOD_NODE": "test"}
        subprocess.run([os.path.join(TOP, "conf", "development"), "init", self.dir], check=True,
                       env={**self.env, **ports, "BUILD": os.path.relpath(BUILD, TOP)})
        if settings:
            with open(self.path("isod.yaml"), "a") as f:
                f.write(settings)
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind and kind is not SystemExit:
            print("isod said last:\n" + "".join(self.log().splitlines(True)[-60:]))
        self.stop(check_exit=kind is None)
        shutil.rmtree(self.dir, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def write(self, name, text):
        with open(self.path(name), "w") as f:
            f.write(text)
        return self.path(name)

    def escalate(self, plugins, routes):
        """Who is told: YAML lists."""
        self.write("escalation.yaml", f"plugins:\n{plugins or '  []'}\nroutes:\n{routes or '  []'}\n")

    def webhook(self, receiver, name="oncall"):
        """The plugin that tells a Receiver of this isod, as an item of the list."""
        return (f"  - {{name: {name}, program: webhook, options: {{url: \"{receiver.url}\", "
                f"ca: \"{self.path('tls', 'ca.pem')}\", secret: \"{receiver.secret}\"}}}}\n")

    def receiver(self, **more):
        return Receiver(self.path("tls", "server.pem"), self.path("tls", "server.key"), SECRET, **more)

    def log(self):
        try:
            with open(self.path("log"), errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    # ---- life ----

    def start(self):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([os.path.join(BUILD, "isod"), "--config", self.path("isod.yaml")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env,
                                            preexec_fn=self.before_exec)
        self.wait(self.answers, "isod answers")

    def answers(self):
        check(self.process.poll() is None, f"isod ended with {self.process.returncode}")
        return self.isoctl("status", check_exit=False).returncode == 0

    def stop(self, check_exit=True):
        if not self.process:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure("isod did not stop on SIGTERM")
        self.process = None
        if check_exit:
            check(status == 0, f"isod ended with {status}: {self.log()[-3000:]}")
            check("ERROR: AddressSanitizer" not in self.log() and "runtime error:" not in self.log()
                  and "WARNING: ThreadSanitizer" not in self.log(), "a sanitizer spoke:\n" + self.log()[-6000:])

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    # ---- asking ----

    def isoctl(self, *arguments, check_exit=True, text=None):
        done = subprocess.run([os.path.join(BUILD, "isoctl"), "--socket", self.path("isod.sock"), *arguments],
                              input=text, stdin=None if text is not None else subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")
        if check_exit:
            check(done.returncode == 0, f"isoctl {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def ask(self, *arguments):
        """The objects that isoctl --json prints. Only for questions: on a busy machine one may be asked again."""
        for _ in range(10):
            done = self.isoctl("--json", *arguments, check_exit=False)
            if done.returncode != 3 or not self.process or self.process.poll() is not None:
                break
        check(done.returncode == 0, f"isoctl --json {' '.join(arguments)}: {done.returncode}\n{done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def status(self):
        return self.ask("status", "--sources")[0]

    def sources(self):
        return {s["source"]: s for s in self.status()["sources"]}

    def events(self, prefix=""):
        """Frames of all sources whose name begins so that became events, without isod's own."""
        return sum(s["received"] - s["refused"] - s["shed"] for name, s in self.sources().items()
                   if name.startswith(prefix) and not name.startswith("isod/"))

    def incidents(self):
        return self.ask("incidents", "list", "--limit", "1000")

    def counters(self):
        return {c["name"]: c["value"] for c in self.status()["counters"]}

    def detected(self):
        """Records of evidence that the rules have looked at."""
        return sum(w["detected"] for w in self.status()["workers"])

    def resident_kib(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))

    def listener(self, name):
        for l in self.status()["listeners"]:
            if l["name"] == name:
                return l
        raise Failure(f"no listener {name}")

    def address(self, listener):
        address = self.listener(listener)["address"]
        return address if listener == "unix" else f"127.0.0.1:{address.rsplit(':', 1)[-1]}"

    def port(self, listener):
        return int(self.address(listener).rsplit(":", 1)[1])

    def wait(self, condition, what):
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            if condition():
                return
            time.sleep(0.05)
        raise Failure(f"waited in vain: {what}")

    def wait_events(self, count, prefix=""):
        def there():
            self.last = self.events(prefix)
            return self.last >= count
        try:
            self.wait(there, "")
        except Failure:
            raise Failure(f"{self.last} events of {count} from {prefix or 'all sources'}")
        check(self.last == count, f"{self.last} events, {count} were sent")

    # ---- feeding ----

    def send(self, door, lines, *more):
        """Ships lines with isoctl send through --tls, --tcp, --udp or --unix."""
        ca = ("--ca", self.path("tls", "ca.pem")) if door == "--tls" else ()
        return self.isoctl("send", door, self.address(door[2:]), *ca, *more, "-", text="".join(l + "\n" for l in lines))

    def redis(self, *command):
        return subprocess.run(["redis-cli", "-s", self.path("state", "redis", "redis.sock"), *command],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


class Receiver:
    """An HTTPS server that keeps what is posted to it. `answers`: status codes to give first, then 200."""

    def __init__(self, certificate, key, secret, answers=()):
        self.alerts, self.bad, self.answers, self.secret = [], [], list(answers), secret
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                stamp = self.headers.get("X-Isod-Timestamp", "")
                want = "sha256=" + hmac.new(secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
                status = receiver.answers.pop(0) if receiver.answers else 200
                if not hmac.compare_digest(want, self.headers.get("X-Isod-Signature", "")):
                    receiver.bad.append((dict(self.headers), body))
                    status = 403
                elif status == 200:
                    receiver.alerts.append((self.headers.get("Idempotency-Key"), json.loads(body)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.url = f"https://localhost:{self.server.server_address[1]}/alerts"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def ended(peer):
    """True when the other side has closed the connection; waits for it."""
    peer.settimeout(WAIT_SECONDS)
    try:
        while peer.recv(4096):
            pass
        return True
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def main(scenario):
    """Runs a scenario's function; prints what failed."""
    try:
        scenario()
    except Failure as failure:
        print(f"FAILED: {failure}")
        sys.exit(1)
