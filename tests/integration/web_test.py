"""/metrics as a strict reader of Prometheus' text format takes it, with the same account as isoctl's; /healthz and /readyz
while isod starts, works, has a Redis that hangs, a worker that hangs, an officer that hangs, and a ledger that cannot be
written; and clients that never ask, ask slowly or ask nonsense, beside one that is served."""
import ctypes
import os
import re
import signal
import socket
import urllib.error
import urllib.request

from harness import Isod, check, main
from machine import Machine, available

SETTINGS = "\nhttp: {address: \"127.0.0.1:0\"}\n"
LINES = 2000

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (-?[0-9]+(?:\.[0-9]+)?)")
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


def strict(text):
    """Every sample by its series. Fails where a reader of the format could stumble."""
    check(text.endswith("\n"), "the last line has an end")
    family = kind = helped = None
    seen, samples = set(), {}
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped = line.split(" ")[2]
            check(re.fullmatch(NAME, helped) and helped not in seen, f"a family of its own: {line}")
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ")
            check(family == helped and kind in ("counter", "gauge", "histogram", "untyped"), line)
            check((kind == "counter") == family.endswith("_total") or kind == "untyped", line)
            seen.add(family)
        else:
            m = SAMPLE.fullmatch(line)
            check(m, f"no sample: {line!r}")
            check(m[1] == family or m[1] in [family + s for s in SUFFIXES.get(kind, ())], f"{line} stands in {family}")
            check((m[1], m[2]) not in samples, f"twice: {line}")
            samples[m[1], m[2]] = float(m[3])
    return samples


def histogram(samples, name):
    buckets = [(re.search('le="([^"]*)"', labels)[1], count) for (n, labels), count in samples.items() if n == name + "_bucket"]
    bounds = [float(b) for b, _ in buckets]
    check(bounds == sorted(bounds) and buckets[-1][0] == "+Inf", f"{name}: bounds rise to +Inf: {buckets}")
    counts = [c for _, c in buckets]
    check(counts == sorted(counts) and counts[-1] == samples[name + "_count", None], f"{name}: counts add up: {buckets}")
    check(samples[name + "_sum", None] >= 0, name)
    return counts[-1]


def port(isod):
    found = re.findall(r"metrics and health at http://127\.0\.0\.1:(\d+)/", isod.log())
    return int(found[-1]) if found else None


def get(isod, path, method="GET"):
    """Status, content type, text."""
    request = urllib.request.Request(f"http://127.0.0.1:{port(isod)}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.headers["Content-Type"], e.read().decode()


def ready(isod):
    return get(isod, "/readyz")[0] == 200


def metrics(isod):
    return strict(get(isod, "/metrics")[2])


def starting(isod):
    """Until it is ready it says why not, and then it stays so."""
    isod.start()
    reasons = []
    isod.wait(lambda: reasons.append(get(isod, "/readyz")) or reasons[-1][0] == 200, "ready")
    check(all(s == 503 and len(text) > 10 for s, _, text in reasons[:-1]), f"a reason until then: {reasons}")
    check(reasons[-1][2] == "ready\n" and get(isod, "/healthz")[::2] == (200, "ok\n"), f"{reasons[-1]}")


def the_account(isod):
    isod.send("--tcp", [f"<38>Nov 23 18:00:{n % 60:02} web1 sshd[{n}]: Failed password for root from 203.0.113.9 port {n} ssh2"
                        for n in range(LINES)])
    isod.wait_events(LINES, "tcp/")
    isod.wait(lambda: metrics(isod).get(("isod_source_received_total", 'source="tcp/127.0.0.1"')) == LINES, "they are counted")
    status, kind, text = get(isod, "/metrics")
    check(status == 200 and kind == "text/plain; version=0.0.4; charset=utf-8", f"{status} {kind}")
    samples = strict(text)
    check(samples["isod_account_difference", None] == 0, "the account closes")
    isod.wait(lambda: histogram(metrics(isod), "isod_durable_latency_seconds") >= LINES, "every frame's way to the disk is counted")
    isod.wait(lambda: histogram(metrics(isod), "isod_ledger_latency_seconds") >= LINES, "and every match's way to the ledger")
    isod.wait(lambda: histogram(metrics(isod), "isod_plugin_latency_seconds") >= 1, "and the alert's to the plugin")
    for worker in range(2):
        label = f'worker="{worker}"'
        check(samples["isod_worker_queue_size_bytes", label] >= samples["isod_worker_queue_bytes", label], "queues have room")
    strict(isod.isoctl("metrics", "--prometheus").stdout)
    check(set(n for n, _ in strict(isod.isoctl("metrics", "--prometheus").stdout)) == set(n for n, _ in samples), "isoctl tells the same")
    check(get(isod, "/metrics", "HEAD")[::2] == (200, ""), "HEAD has no body")
    check(get(isod, "/nothing")[0] == 404 and get(isod, "/metrics", "DELETE")[0] == 405, "other paths and methods")
    check("LATENCY" in isod.isoctl("status").stdout, "isoctl status shows latencies")


def redis_hangs(isod):
    pid = int(isod.redis("info", "server").split("process_id:")[1].split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        before = isod.events("tcp/")
        isod.send("--tcp", ["<30>Nov 23 18:00:00 web1 app: while Redis hangs"] * 100)
        isod.wait(lambda: isod.events("tcp/") == before + 100, "events are taken in all the same")
        check(get(isod, "/healthz")[0] == 200 and ready(isod), "Redis is a view: nothing waits for it")
    finally:
        os.kill(pid, signal.SIGCONT)


class Held:
    """One thread of isod stands still, as a debugger holds it."""
    libc = ctypes.CDLL(None, use_errno=True)
    SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17

    def __init__(self, pid, name):
        tasks = f"/proc/{pid}/task"
        self.tid = next(int(t) for t in os.listdir(tasks) if open(f"{tasks}/{t}/comm").read().strip() == name)

    def ptrace(self, request):
        return self.libc.ptrace(ctypes.c_long(request), ctypes.c_long(self.tid), ctypes.c_void_p(0), ctypes.c_void_p(0))

    def __enter__(self):
        self.works = self.ptrace(self.SEIZE) == 0
        if self.works:
            self.ptrace(self.INTERRUPT)
            os.waitpid(self.tid, 0x40000000)  # __WALL
        return self.works

    def __exit__(self, *_):
        if self.works:
            self.ptrace(self.DETACH)


def hangs(isod):
    with Held(isod.process.pid, "worker 1") as held:
        if not held:
            print("skipped part: no thread can be held here")
            return
        isod.wait(lambda: get(isod, "/healthz")[0] == 503, "a worker that hangs is found")
        text = get(isod, "/healthz")[2]
        check("worker 1 has not turned for" in text and get(isod, "/readyz")[0] == 503, text)
        check(get(isod, "/metrics")[0] == 200, "there are metrics meanwhile")
    isod.wait(lambda: get(isod, "/healthz")[0] == 200 and ready(isod), "it turns again")
    with Held(isod.process.pid, "isod"):  # the main thread: the officer
        status, _, text = get(isod, "/healthz")
        check(status == 503 and "the officer has not answered for" in text, f"{status} {text}")
        status, _, text = get(isod, "/metrics")
        check(status == 503, "and at once: it was asked already")
    isod.wait(lambda: get(isod, "/healthz")[0] == 200 and ready(isod), "and again")


def odd_clients(isod):
    """More of them than may be connected, with half a request or none."""
    address = ("127.0.0.1", port(isod))
    odd = []
    for n in range(200):
        s = socket.create_connection(address, 60)
        s.sendall((b"", b"GET /met", b"GET /metrics HTTP/1.1\r\nHost:", b"\x16\x03\x01", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")[n % 5])
        odd.append(s)
    isod.wait(lambda: odd_is_over(isod), "an honest client is served when they have been closed")
    for s in odd:
        try:
            while s.recv(4096):
                pass
        except OSError:
            pass
        s.close()
    check(metrics(isod)["isod_http_refused", None] > 0, "they are counted")


def odd_is_over(isod):
    try:
        return get(isod, "/healthz")[0] == 200
    except (OSError, urllib.error.URLError):
        return False


def ledger_fails():
    why = available()
    if why:
        print("skipped part: " + why)
        return
    machine = Machine()
    with Isod(SETTINGS, env=machine.env) as isod:
        isod.wait(lambda: ready(isod), "ready")
        machine.fail("write", "ENOSPC", isod.path("state", "ledger"))
        isod.send("--tcp", ["<30>Nov 23 18:00:00 web1 app: line"])
        isod.wait(lambda: not ready(isod), "a full disk under the ledger")
        status, _, text = get(isod, "/readyz")
        check(status == 503 and text == "the ledger cannot be written: No space left on device\n", text)
        check(get(isod, "/healthz")[0] == 200, "starting anew would not help: it is healthy")
        machine.heal()
        isod.wait(lambda: ready(isod), "ready again")


def scenario():
    with Isod(SETTINGS + "workers: 2\n", start=False, routes="  - {name: all, plugin: told, min_level: low}",
              plugins="  - name: told\n    program: exec\n    options: {program: /bin/true}") as isod:
        for part in (starting, the_account, redis_hangs, hangs, odd_clients):
            part(isod)
    ledger_fails()


main(scenario)
