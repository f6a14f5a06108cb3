"""Detection is made far slower than ingest, by rules whose expressions take long, and a RELP sender comes with a burst that
memory has no room for: all of it is acknowledged while detection has hardly begun, the lag shows in status and metrics and
goes back to nothing, memory stays bounded, and every event is counted and matched once. The same when isod is killed with
-9 in the middle of it."""
import os
import select
import socket

from harness import Isod, check, main

SLOW, EVENTS, MARKED = 600, 40000, 100  # events that take long, all of them, and of those every so many a rule holds
FILLING = "x" * 400
OPEN_LINES = 4  # of the answer to RELP's open; all others have one
MEMORY_KIB = 100 * 1024  # less than the burst, its copies and the rest of isod would take together

RULE = """title: {title}
id: {id}
status: test
logsource: {{product: burst}}
detection:
  s:
    {condition}
  condition: s
level: low
"""
ID = "5d1f6c54-0a3e-4c65-9a3c-00000000%04x"

SETTINGS = """workers: 1
limits: {backlog_memory: 1MiB}
listeners:
  - {name: relp, kind: relp, address: "127.0.0.1:0"}
"""


def write_rules(isod):
    os.mkdir(isod.path("burst"))
    for n in range(12):
        # The look-behind keeps it from the fast engine, the nested repetition makes it take all the steps it may.
        isod.write(f"burst/slow{n}.yml", RULE.format(title=f"slow {n}", id=ID % n, condition=f"a|re: '^(a+)+{'a' * n}$(?<!b)'"))
    isod.write("burst/marked.yml", RULE.format(title="marked", id=ID % 99, condition="marked: yes_it_is"))


def event(n):
    if n < SLOW:
        return '{"a":"%s!","n":%d,"marked":"%s"}' % ("a" * 100, n, "yes_it_is" if n % MARKED == 0 else "no")
    return '{"n":%d,"marked":"%s","filling":"%s"}' % (n, "yes_it_is" if n % MARKED == 0 else "no", FILLING)


def send(isod, count):
    """Over RELP, until everything is acknowledged."""
    with socket.create_connection(("127.0.0.1", isod.port("relp"))) as s:
        frames = ["1 open 30 relp_version=0\ncommands=syslog\n"]
        frames += ["%d syslog %d %s\n" % (n + 2, len(event(n)), event(n)) for n in range(count)]
        out, answers = memoryview("".join(frames).encode()), -OPEN_LINES
        while answers < count:
            readable, writable, _ = select.select([s], [s] if out else [], [], 120)
            check(readable or writable, f"{answers} of {count} are acknowledged, then nothing for two minutes")
            if writable:
                out = out[s.send(out[:65536]):]
            if readable:
                got = s.recv(1 << 20)
                check(got, "the connection ended early")
                answers += got.count(b"\n")


def worker(isod):
    return isod.status()["workers"][0]


def waiting(isod):
    w = worker(isod)
    return w["evidence"] - w["detected"]


def settled(isod):
    c = {c["name"]: c["value"] for c in isod.status()["counters"]}
    return c["ingest_workers_redetecting"] == 0 and c["ingest_frames_untallied"] == 0


def highest_memory(isod):
    with open(f"/proc/{isod.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))


def matches(isod):
    """How often the ledger has seen the rule match that can be told beforehand."""
    return sum(s["total"] for s in isod.ask("metrics", "--scope", "rule", "--name", ID % 99))


def check_lag(isod):
    """The burst is in evidence and acknowledged; detection is not done with it."""
    w = worker(isod)
    check(waiting(isod) > EVENTS / 2, f"detection is behind: {w}")
    check(int(w["lag_bytes"]) > 1 << 20 and w["lag_on_disk"] and int(w["lag_oldest_ns"]) > 0, f"the lag shows: {w}")
    text = isod.isoctl("metrics", "--prometheus").stdout
    check("isod_worker_detection_lag_bytes" in text and "isod_worker_detection_oldest_seconds" in text, "and in the metrics")
    check("catches up" in isod.isoctl("status").stdout, "and is told to people")


def configure(isod):
    """One worker, one RELP listener, and nothing but the rules above."""
    with open(isod.path("isod.yaml")) as f:
        text = f.read()
    before, rest = text.split("listeners:\n", 1)
    after = "patterns:" + rest.split("\npatterns:", 1)[1]
    isod.write("isod.yaml", before + SETTINGS + "rules: [burst]\nlogsources: logsources.yaml\n" + after)
    isod.write("logsources.yaml", "sources:\n  - {product: burst, when: {marked|exists: true}}\n")
    write_rules(isod)


def expected(bursts):
    return bursts * (EVENTS // MARKED)


def scenario():
    with Isod(start=False) as isod:
        configure(isod)
        isod.start()
        send(isod, EVENTS)
        check_lag(isod)
        isod.wait(lambda: settled(isod), "detection catches up")
        w = worker(isod)
        check(waiting(isod) == 0 and int(w["lag_bytes"]) == 0 and not w["lag_on_disk"], f"the lag is gone: {w}")
        check(isod.events("relp/") == EVENTS, f"{isod.events('relp/')} of {EVENTS} events are counted")
        check(matches(isod) == expected(1), f"{matches(isod)} of {expected(1)} matches are in the ledger")
        memory = highest_memory(isod)
        print(f"{memory / 1024:.1f} MiB resident at most")
        check("san-" in os.environ.get("BUILD", "") or memory < MEMORY_KIB, f"{memory} KiB resident")

        send(isod, EVENTS)
        check_lag(isod)
        isod.kill()
        isod.start()
        isod.wait(lambda: settled(isod), "what was left is detected")
        check(isod.events("relp/") == 2 * EVENTS, f"{isod.events('relp/')} of {2 * EVENTS} events are counted after the kill")
        check(matches(isod) == expected(2), f"{matches(isod)} of {expected(2)} matches after the kill")
        check(waiting(isod) == 0, "nothing waits after the kill")
        isod.isoctl("ledger", "verify", isod.path("state", "ledger"))
        isod.stop()


main(scenario)
