#!/usr/bin/python3
"""make bench-latency: how long it takes from a frame to the plugin that is to wake somebody, while isod takes in a stream at 10,
50 and 90 per cent of what it can take. Probes go over a TLS connection of their own, one by one, each about another host, so
that each opens an incident; a plugin notes when it is called. Both ends read the same clock, so the times have in them what
the sender, the kernel and the plugin's own start of reading take. PROBES= a load, SECONDS= between probes."""
import os
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))
from harness import BUILD, TOP, Isod, main  # noqa: E402

PROBES, PAUSE = int(os.environ.get("PROBES", 300)), float(os.environ.get("SECONDS", 0.05))
LOADS = (10, 50, 90)
BYTES, CONNECTIONS, PIECE, FRAMES = 137, 4, 65536, int(os.environ.get("FRAMES", 600000))
MARK = "latency-probe"

# Further incidents of one rule in an hour would fold into one: more would be a storm.
PER_RULE = 40

RULE = """---
title: A probe of the latency benchmark ({number})
id: 5d7f6a52-7c0e-4c5f-9b1e-0d2f5e6f{number:04d}
status: test
description: Only for the benchmark
logsource: {{product: linux}}
detection:
  keywords: ['{mark}-{number:04d}']
  condition: keywords
level: critical
"""

# It only notes the time and answers; what is in the message does not matter but for the host's name and the key.
PLUGIN = """#!/usr/bin/python3
import os, re, sys, time
sys.path.insert(0, {folder!r})
import ledger_pb2, plugin_pb2
def varint(read):
    n = shift = 0
    while True:
        b = read(1)
        if not b: sys.exit(0)
        n |= (b[0] & 127) << shift
        shift += 7
        if not b[0] & 128: return n
def say(message):
    body = message.SerializeToString()
    n, out = len(body), b""
    while n > 127: out, n = out + bytes([n & 127 | 128]), n >> 7
    sys.stdout.buffer.write(out + bytes([n]) + body)
    sys.stdout.buffer.flush()
notes = open({notes!r}, "a", buffering=1)
read = sys.stdin.buffer.read
while True:
    size = varint(read)
    now = time.time_ns()
    m = plugin_pb2.ToPlugin()
    m.ParseFromString(read(size))
    if m.HasField("setup"):
        say(plugin_pb2.FromPlugin(ready=plugin_pb2.PluginReady(parallel=32)))
        continue
    for host in {{e.name for e in m.alert.incident.entities if e.name.startswith("probe")}}:
        notes.write(f"{{host}} {{now}}\\n")
    say(plugin_pb2.FromPlugin(answer=plugin_pb2.PluginAnswer(key=m.alert.key, outcome=ledger_pb2.PLUGIN_OUTCOME_DELIVERED)))
"""


class Bench:
    def __init__(self, isod):
        self.isod, self.notes, self.sent = isod, isod.path("notes"), {}
        open(self.notes, "w").close()

    def load(self, frames, rate=0):
        return subprocess.Popen([os.path.join(BUILD, "bench", "load_stream"), "127.0.0.1", str(self.isod.port("tls")),
                                 str(CONNECTIONS), str(frames), str(BYTES), str(PIECE), str(int(rate))], stdout=subprocess.PIPE)

    def fastest(self):
        """What it can take, found out with the same stream: until all is matched, not only sent."""
        before, begin = self.isod.detected(), time.monotonic()
        self.load(FRAMES).wait()
        self.isod.wait(lambda: self.isod.detected() - before >= FRAMES, "the stream is matched")
        return FRAMES / (time.monotonic() - begin)

    def connect(self):
        context = ssl.create_default_context(cafile=self.isod.path("tls", "ca.pem"))
        raw = socket.create_connection(("127.0.0.1", self.isod.port("tls")))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return context.wrap_socket(raw, server_hostname="localhost")

    def noted(self):
        with open(self.notes) as f:
            return {name: int(ns) for name, ns in (line.split() for line in f if line.endswith("\n"))}

    def probes(self, load, rate):
        sender = self.load(int(rate * (PROBES * PAUSE + 2)), rate)
        names = [f"probe-{load}-{n}" for n in range(PROBES)]
        with self.connect() as peer:
            time.sleep(1)
            for name in names:
                line = f"<34>Nov 23 18:00:00 {name} app: {MARK}-{len(self.sent) // PER_RULE:04d}\n".encode()
                self.sent[name] = time.time_ns()
                peer.sendall(line)
                time.sleep(PAUSE)
        self.isod.wait(lambda: set(names) <= set(self.noted()), "every probe has called the plugin")
        sender.wait()
        noted = self.noted()
        return sorted((noted[n] - self.sent[n]) / 1e6 for n in names)


def at(times, part):
    return times[min(len(times) - 1, int(len(times) * part))]


def prepare(isod):
    folder = isod.path("proto")
    os.mkdir(folder)
    subprocess.run(["protoc", f"--proto_path={TOP}/proto", f"--python_out={folder}", "event.proto", "incident.proto",
                    "ledger.proto", "plugin.proto"], check=True)
    plugin = isod.write("note", PLUGIN.format(folder=folder, notes=isod.path("notes")))
    os.chmod(plugin, 0o755)
    count = len(LOADS) * PROBES // PER_RULE + 1
    isod.write("probe.yml", "".join(RULE.format(number=n, mark=MARK) for n in range(count)))
    isod.write("escalation.yaml", f"plugins:\n  - {{name: note, program: {plugin}}}\nroutes:\n"
                                  "  - {name: all, plugin: note, min_level: critical}\n")
    with open(isod.path("isod.yaml")) as f:
        text = f.read()
    isod.write("isod.yaml", text.replace("/conf/rules]", f"/conf/rules, {isod.path('probe.yml')}]"))


def scenario():
    with Isod(start=False, routes="  []") as isod:
        prepare(isod)
        isod.start()
        isod.wait(lambda: isod.status()["rules_compiled"], "rules are compiled")
        bench = Bench(isod)
        fastest = bench.fastest()
        print(f"{fastest:.0f} messages of {BYTES} bytes a second are what it can take here; {PROBES} probes a load, milliseconds")
        print(f"{'load':>6} {'p50':>8} {'p90':>8} {'p99':>8} {'most':>8}")
        for load in LOADS:
            times = bench.probes(load, fastest * load / 100)
            print(f"{load:5}% " + " ".join(f"{at(times, p):8.2f}" for p in (0.5, 0.9, 0.99, 1)), flush=True)


main(scenario)
