#!/usr/bin/python3
"""make bench-ingest: the line rate beside rsyslog's (rate.py), then what durability costs. The same sender (load_relp) feeds, in turns and round after round, rsyslog's own
imrelp writing to a file, and isod over RELP, over RELP with TLS, and over RELP with an fdatasync that does nothing (a shim:
isod has no such switch). Ratios of one run, by the best round of each. FRAMES=, BYTES=, WINDOW=, ROUNDS=; FRAMES=0: only the line rate."""
import os
import socket
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))
from harness import BUILD, Isod, main, need, skip  # noqa: E402
from rate import line_rate  # noqa: E402

FRAMES, BYTES = int(os.environ.get("FRAMES", 200000)), int(os.environ.get("BYTES", 200))
WINDOW, ROUNDS = int(os.environ.get("WINDOW", 10000)), int(os.environ.get("ROUNDS", 3))

LISTENERS = """
  - {name: relp, kind: relp, address: "127.0.0.1:0"}
  - {name: relptls, kind: relp-tls, address: "127.0.0.1:0", certificate: tls/server.pem, key: tls/server.key}
rules:"""

SHIM = "int fdatasync(int fd);\nint fdatasync(int fd)\n{\n\t(void)fd;\n\treturn 0;\n}\n"


def load(port, *more):
    done = subprocess.run([os.path.join(BUILD, "bench", "load_relp"), "127.0.0.1", str(port), str(FRAMES), str(BYTES), str(WINDOW),
                           *more], stdout=subprocess.PIPE, check=True, timeout=600)
    return FRAMES / float(done.stdout)


class Rsyslog:
    def __init__(self, isod):
        self.dir = isod.path("imrelp")
        os.mkdir(self.dir)
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        with open(self.dir + "/conf", "w") as f:
            f.write(f"""
global(workDirectory="{self.dir}")
module(load="imrelp")
template(name="bare" type="string" string="%rawmsg%\\n")
input(type="imrelp" port="{self.port}" address="127.0.0.1")
action(type="omfile" file="{self.dir}/out" template="bare")
""")
        self.process = subprocess.Popen([need("rsyslogd"), "-n", "-f", self.dir + "/conf", "-i", self.dir + "/pid"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        isod.wait(lambda: os.system(f"exec 2>/dev/null; bash -c ': </dev/tcp/127.0.0.1/{self.port}'") == 0, "rsyslog listens")

    def close(self):
        self.process.kill()
        self.process.wait()


def isod_with_relp(env=None):
    isod = Isod(start=False, env=env)
    with open(isod.path("isod.yaml")) as f:
        text = f.read().replace("\nrules:", LISTENERS, 1)
    isod.write("isod.yaml", text)
    isod.start()
    isod.wait(lambda: isod.status()["rules_compiled"], "rules are compiled")
    return isod


def durability():
    if not any(os.path.exists(d + "/imrelp.so") for d in ("/usr/lib/x86_64-linux-gnu/rsyslog", "/usr/lib/aarch64-linux-gnu/rsyslog")):
        skip("no rsyslog with imrelp here")
    with isod_with_relp() as isod:
        with open(isod.path("shim.c"), "w") as f:
            f.write(SHIM)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", isod.path("shim.so"), isod.path("shim.c")], check=True)
        rsyslog = Rsyslog(isod)
        with isod_with_relp({"LD_PRELOAD": isod.path("shim.so")}) as careless:
            ways = [("imrelp", lambda: load(rsyslog.port)), ("relp", lambda: load(isod.port("relp"))),
                    ("relp-tls", lambda: load(isod.port("relptls"), "tls")),
                    ("relp without fdatasync", lambda: load(careless.port("relp")))]
            best = dict.fromkeys([name for name, _ in ways], 0)
            for _ in range(ROUNDS):
                for name, run in ways:
                    best[name] = max(best[name], run())
        rsyslog.close()
    print(f"{FRAMES} frames of {BYTES} bytes, window {WINDOW}, best of {ROUNDS}")
    for name, rate in best.items():
        print(f"{name:>24}: {rate:10.0f} frames/s, {rate / best['imrelp']:5.2f} of imrelp's")
    print(f"durability: relp {best['relp'] / best['relp without fdatasync']:.2f} of relp without fdatasync; "
          f"TLS: {best['relp-tls'] / best['relp']:.2f} of plain")


def scenario():
    line_rate()
    if FRAMES:
        durability()


main(scenario)
