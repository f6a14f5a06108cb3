#!/usr/bin/python3
"""make bench-idle: what idle TLS connections cost: isod's memory with and without them, and the rate at which eight others are
served with and without them, in turns. IDLE=connections ROUNDS= FRAMES="""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))
from harness import BUILD, Isod, main  # noqa: E402

IDLE, ROUNDS = int(os.environ.get("IDLE", 10000)), int(os.environ.get("ROUNDS", 3))
FRAMES, BYTES, CONNECTIONS, PIECE = int(os.environ.get("FRAMES", 600000)), 137, 8, 65536
LIMITS = "limits:\n  peer_connections_max: unlimited\n  peer_connects: unlimited\n  handshakes: unlimited\n"


def program(name, isod, *arguments):
    return [os.path.join(BUILD, "bench", name), "127.0.0.1", str(isod.port("tls")), *map(str, arguments)]


def rate(isod):
    """Messages a second until all are matched."""
    before, begin = isod.detected(), time.monotonic()
    subprocess.run(program("load_stream", isod, CONNECTIONS, FRAMES, BYTES, PIECE), stdout=subprocess.DEVNULL, check=True)
    isod.wait(lambda: isod.detected() - before >= FRAMES, "the stream is matched")
    return FRAMES / (time.monotonic() - begin)


class Crowd:
    def __init__(self, isod):
        self.isod = isod
        self.process = subprocess.Popen(program("load_idle", isod, IDLE), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process.stdout.readline()
        isod.wait(lambda: isod.listener("tls")["connections"] == IDLE, "all are open")

    def leave(self):
        self.process.stdin.close()
        self.process.wait()
        self.isod.wait(lambda: self.isod.listener("tls")["connections"] == 0, "all have gone")


def scenario():
    alone, among = [], []
    with Isod(settings=LIMITS) as isod:
        isod.wait(lambda: isod.status()["rules_compiled"], "rules are compiled")
        rate(isod)  # warm
        before = isod.resident_kib()
        for n in range(ROUNDS):
            alone.append(rate(isod))
            crowd = Crowd(isod)
            if n == 0:
                grown = isod.resident_kib() - before
                print(f"{IDLE} idle TLS connections: {grown / 1024:.0f} MiB more than {before / 1024:.0f} MiB resident, "
                      f"{grown / IDLE:.1f} KiB each, OpenSSL's own included", flush=True)
            among.append(rate(isod))
            crowd.leave()
    print(f"{CONNECTIONS} others: {max(alone):.0f} messages a second alone, {max(among):.0f} among the idle: "
          f"ratio {max(among) / max(alone):.2f} (best of {ROUNDS})")


main(scenario)
