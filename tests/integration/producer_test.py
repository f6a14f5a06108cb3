"""A producer hands in numbered events over the protobuf socket (code that protoc makes from proto/): isod is killed with -9
at random instants, restarted with another number of workers too, and every event is in evidence exactly once, whatever the
producer sent again. Two connections of one producer at once, an id that is somebody else's; gaps, nonsense and strangers are
refused with words; isoctl send --producer does the same from files."""
import collections
import glob
import importlib
import os
import random
import socket
import ssl
import subprocess
import sys
import threading
import time

from evidence_reader import NUMBERED, read_evidence
from harness import BUILD, TOP, Isod, check, main, need, skip
from protobuf_client import Connection

EVENTS = 100000
BATCH = 500
WINDOW = 8
KILLS = 6


def event(name, n):
    return b"<13>%s event %06d" % (name.encode(), n)


class Producer(threading.Thread):
    """Keeps what is not acknowledged and sends it again, until everything is."""

    def __init__(self, isod, api, name, count):
        super().__init__()
        self.isod, self.api, self.name_, self.count = isod, api, name, count
        self.upto, self.resent, self.failure = 0, 0, None

    def run(self):
        try:
            until = time.monotonic() + 600
            while self.upto < self.count and time.monotonic() < until:
                try:
                    self.session(Connection(self.isod, self.api))
                except (ConnectionError, FileNotFoundError, socket.timeout):
                    time.sleep(0.05)
        except Exception as e:
            self.failure = e

    def session(self, c):
        answer = c.ask(ingest_hello={"producer": self.name_})
        if answer.HasField("error"):
            check(answer.error.code == self.api.ERROR_UNAVAILABLE, f"hello: {answer.error}")
            time.sleep(0.05)
            return
        check(answer.ingest_ack.upto >= self.upto, f"isod forgot what it had acknowledged: {answer.ingest_ack.upto} < {self.upto}")
        # What isod says that it has is not left out here: it must recognise that.
        sent, under_way = self.upto, 0
        while self.upto < self.count:
            while under_way < WINDOW and sent < self.count:
                last = min(sent + BATCH, self.count)
                c.send(ingest_batch={"producer": self.name_, "first": sent + 1,
                                     "frames": [event(self.name_, n) for n in range(sent + 1, last + 1)]})
                sent, under_way = last, under_way + 1
            answer = c.next()
            check(answer.HasField("ingest_ack"), f"answer: {answer}")
            check(answer.ingest_ack.upto >= self.upto, "the mark falls")
            self.upto = answer.ingest_ack.upto
            self.resent += answer.ingest_ack.repeated
            under_way -= 1


def evidence(isod, prefix):
    """How often each frame with its number is in evidence."""
    found = collections.Counter()
    for e in read_evidence(isod, prefix.decode()):
        check(e.flags & NUMBERED, "a numbered record")
        found[e.sequence, e.frame] += 1
    return found


def expected(name, count):
    return collections.Counter({(n, event(name, n)): 1 for n in range(1, count + 1)})


def set_workers(isod, count):
    with open(isod.path("isod.yaml")) as f:
        lines = [l for l in f.read().splitlines(True) if not l.startswith("workers:")]
    isod.write("isod.yaml", f"workers: {count}\n" + "".join(lines))


def killed(isod, api):
    dice, producers = random.Random(4712), [Producer(isod, api, "alpha", EVENTS), Producer(isod, api, "beta", EVENTS // 5)]
    for p in producers:
        p.start()
    for kill in range(KILLS):
        goal = producers[0].upto + dice.randrange(EVENTS // (KILLS + 3))
        isod.wait(lambda: producers[0].upto >= min(goal, EVENTS - 1) or not producers[0].is_alive(), "it goes on")
        isod.kill()
        set_workers(isod, dice.randrange(1, 4))
        isod.start()
    for p in producers:
        p.join()
        check(not p.failure, f"{p.name_}: {p.failure!r}")
        check(p.upto == p.count, f"{p.name_} is acknowledged up to {p.upto} of {p.count}")
        found = evidence(isod, b"producer/%s" % p.name_.encode())
        check(found == expected(p.name_, p.count), f"{p.name_}: {len(found)} events, {sum(found.values())} times in evidence")
        print(f"{p.name_}: {p.resent} of {p.count} were sent again and recognised")
        isod.wait_events(p.count, "producer/" + p.name_)


def set_forgetting(isod, age):
    with open(isod.path("isod.yaml")) as f:
        lines = [l for l in f.read().splitlines(True) if not l.startswith("producers:")]
    isod.write("isod.yaml", f"producers: {{forget_after: {age}}}\n" + "".join(lines))


def forgotten(isod, api):
    """After producers.forget_after an id is nobody's and begins at 1; the ledger knows, so it is the same after a kill."""
    def known(name):
        answer = Connection(isod, api).ask(ingest_hello={"producer": name})
        return answer.ingest_ack.upto if answer.HasField("ingest_ack") else None
    check(known("certified") is None, "it is somebody else's")
    isod.stop()
    set_forgetting(isod, "2s")
    isod.start()
    isod.wait(lambda: known("alpha") == 0, "what was silent for so long is forgotten")
    isod.wait(lambda: known("certified") == 0, "and its owner")
    isod.kill()
    set_forgetting(isod, "never")
    isod.start()
    isod.wait(lambda: known("alpha") == 0, "it stays forgotten")
    with Connection(isod, api) as c:
        gap = c.ask(ingest_batch={"producer": "alpha", "first": EVENTS + 1, "frames": [b"x"]})
        check(gap.error.code == api.ERROR_GAP and gap.error.expected == 1, f"it does not go on where it was: {gap}")
        ack = c.ask(ingest_batch={"producer": "certified", "first": 1, "frames": [b"mine"]}).ingest_ack
        check((ack.upto, ack.taken) == (1, 1), f"whoever comes first has it: {ack}")
    isod.kill()
    isod.start()
    isod.wait(lambda: known("certified") == 1, "from now on")


def batch(first, count, text=b"twin"):
    return {"producer": "twin", "first": first, "frames": [b"%s %d" % (text, n) for n in range(first, first + count)]}


def twins(isod, api):
    """Two connections with one producer's id count on from the same number: the newer one has it, the older is told."""
    older, newer = Connection(isod, api), Connection(isod, api)
    check(older.ask(ingest_batch=batch(1, 100)).ingest_ack.upto == 100, "the first has it")
    check(newer.ask(ingest_hello={"producer": "twin"}).ingest_ack.upto == 100, "the second asks where it was")
    refused = older.ask(ingest_batch=batch(101, 5, b"lost"))
    check(refused.error.code == api.ERROR_CONFLICT and "newer connection" in refused.error.message, f"the first is told: {refused}")
    check(newer.ask(ingest_batch=batch(101, 50)).ingest_ack.taken == 50, "nothing of the second is left out")
    found = evidence(isod, b"producer/twin")
    check(found == collections.Counter({(n, b"twin %d" % n): 1 for n in range(1, 151)}), "each exactly once")
    check({c["name"]: int(c["value"]) for c in isod.status()["counters"]}["api_producer_conflicts"] >= 1, "it is counted")
    isod.wait(lambda: "spoken for by a newer connection" in own_events(isod), "it is told as an event")


def own_events(isod):
    return b"".join(open(name, "rb").read() for name in glob.glob(isod.path("state", "evidence", "0", "*.log"))).decode(errors="replace")


def somebody_else(isod, api):
    """An id is its first user's; over TLS that is the certificate. After a kill too."""
    def over_tls():
        context = ssl.create_default_context(cafile=isod.path("tls", "ca.pem"))
        context.load_cert_chain(isod.path("tls", "client.pem"), isod.path("tls", "client.key"))
        host, port = isod.status()["api_address"].rsplit(":", 1)
        raw = socket.create_connection((host, int(port)), 60)
        return Connection(isod, api, context.wrap_socket(raw, server_hostname="localhost"))
    with over_tls() as c:
        answer = c.ask(ingest_batch={"producer": "certified", "first": 1, "frames": [b"one"]})
        check(answer.ingest_ack.upto == 1, f"the certificate's own: {answer}")
        answer = c.ask(ingest_batch=batch(151, 1))
        check(answer.error.code == api.ERROR_FORBIDDEN and "belongs to uid:" in answer.error.message, f"not the account's: {answer}")
    isod.kill()
    isod.start()
    isod.wait(lambda: Connection(isod, api).ask(ingest_hello={"producer": "mine"}).HasField("ingest_ack"), "it takes batches")
    for ask in ({"ingest_hello": {"producer": "certified"}},
                {"ingest_batch": {"producer": "certified", "first": 1, "frames": [b"false"]}}):
        answer = Connection(isod, api).ask(**ask)
        check(answer.error.code == api.ERROR_FORBIDDEN and "belongs to cert:forwarder" in answer.error.message, f"refused: {answer}")
    with over_tls() as c:
        check(c.ask(ingest_hello={"producer": "certified"}).ingest_ack.upto == 1, "it goes on")


def refusals(isod, api):
    c = Connection(isod, api)
    gap = c.ask(ingest_batch={"producer": "gap", "first": 5, "frames": [b"x"]}).error
    check(gap.code == api.ERROR_GAP and gap.expected == 1, f"a gap: {gap}")
    check(c.ask(ingest_hello={"producer": "gap"}).ingest_ack.upto == 0, "nothing was taken")
    for batch in ({"producer": "", "first": 1, "frames": [b"x"]}, {"producer": "a/b", "first": 1, "frames": [b"x"]},
                  {"producer": "x" * 65, "first": 1, "frames": [b"x"]}, {"producer": "a", "first": 0, "frames": [b"x"]},
                  {"producer": "a", "first": 2**64 - 1, "frames": [b"x"]}, {"producer": "a", "first": 1},
                  {"producer": "a", "first": 1, "frames": [b"x"] * 65537},
                  {"producer": "a", "first": 1, "frames": [b"x"], "source": "y" * 129},
                  {"producer": "a", "first": 1, "frames": [b"x"], "source": "a\nb"}):
        check(c.ask(ingest_batch=batch).error.code == api.ERROR_BAD_REQUEST, f"refused: {str(batch)[:80]}")
    # Frames of any kind; the rest of a batch that is known in part; where they come from.
    ack = c.ask(ingest_batch={"producer": "odd", "first": 1, "frames": [b"", b"\0\xff\n", b"y" * 70000], "source": "10.0.0.9"})
    check((ack.ingest_ack.upto, ack.ingest_ack.taken) == (3, 3), f"odd frames: {ack}")
    ack = c.ask(ingest_batch={"producer": "odd", "first": 2, "frames": [b"?", b"?", b"four"]})
    check((ack.ingest_ack.upto, ack.ingest_ack.taken, ack.ingest_ack.repeated) == (4, 1, 2), f"half known: {ack}")
    found = evidence(isod, b"producer/odd")
    check(found == collections.Counter([(1, b""), (2, b"\0\xff\n"), (3, b"y" * 65536), (4, b"four")]), "as they are")
    isod.wait(lambda: isod.events("producer/odd/10.0.0.9") == 3, "a source of its own")
    # Other requests wait for the batches before them.
    ids = [c.send(ingest_batch={"producer": "odd", "first": 5, "frames": [b"five"]}), c.send(status={}),
           c.send(ingest_batch={"producer": "odd", "first": 6, "frames": [b"six"]})]
    check([c.next().id for _ in ids] == ids, "in order")


def isoctl(isod):
    lines = [f"line {n}" for n in range(50000)]
    path = isod.write("lines", "\n".join(lines) + "\n\n")
    ship = [os.path.join(BUILD, "isoctl"), "--socket", isod.path("isod.sock"), "--json", "send", "--producer", "shell", "--first", "1", path]
    process = subprocess.Popen(ship, stdout=subprocess.PIPE)
    isod.wait(lambda: isod.events("producer/shell") > 0 or process.poll() is not None, "it sends")
    isod.kill()
    isod.start()
    check(process.wait(240) == 0, "it sends to the end")
    process.stdout.close()
    again = isod.isoctl("send", "--producer", "shell", "--first", "1", path).stdout
    check("50000 were known already" in again, f"sent twice is taken once: {again}")
    isod.isoctl("send", "--producer", "shell", "-", text="one more\n")
    found = evidence(isod, b"producer/shell")
    wanted = [l.encode() for l in lines] + [b"one more"]
    check(found == collections.Counter({(n + 1, l): 1 for n, l in enumerate(wanted)}), f"{len(found)} lines, {sum(found.values())} times")
    check(isod.isoctl("send", "--producer", "shell", "--first", "60000", path, check_exit=False).returncode == 1, "a gap")
    check(isod.isoctl("send", "--producer", "s/h", path, check_exit=False).returncode == 1, "no such id")


def scenario():
    try:
        import google.protobuf  # noqa: F401
    except ImportError:
        skip("no python3-protobuf here")
    with Isod(start=False) as isod:
        with open(isod.path("isod.yaml")) as f:
            text = f.read()
        isod.write("isod.yaml", text.replace("{certificate: forwarder, role: responder}", "{certificate: forwarder, role: producer}"))
        isod.start()
        os.mkdir(isod.path("generated"))
        subprocess.run([need("protoc"), f"--python_out={isod.path('generated')}", "-I", os.path.join(TOP, "proto"),
                        *glob.glob(os.path.join(TOP, "proto", "*.proto"))], check=True)
        sys.path.insert(0, isod.path("generated"))
        api = importlib.import_module("api_pb2")
        refusals(isod, api)
        twins(isod, api)
        somebody_else(isod, api)
        isoctl(isod)
        killed(isod, api)
        forgotten(isod, api)


main(scenario)
