"""With the starter rules and nothing to do, isod takes no measurable CPU and less than 60 MiB of memory."""
import os
import time

from harness import Isod, check, main, skip

SECONDS = 5
MEMORY_KIB = 60 * 1024


def ticks(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def scenario():
    if "san-" in os.environ.get("BUILD", ""):
        skip("a sanitizer's own memory and time say nothing")
    with Isod() as isod:
        isod.send("--tls", [f"<38>Nov 23 18:00:00 web1 sshd[1]: Failed password for root from 203.0.113.{n % 200} port {n} ssh2"
                            for n in range(5000)])
        isod.wait_events(5000, "tls/")
        isod.wait(lambda: isod.status()["view_dirty"] == 0, "everything is written")
        pid = isod.process.pid
        before = ticks(pid)
        time.sleep(SECONDS)
        # CPU time of the process itself, whatever else the machine does.
        used = (ticks(pid) - before) / os.sysconf("SC_CLK_TCK")
        print(f"{isod.resident_kib() / 1024:.1f} MiB resident; {used:.2f} s of CPU in {SECONDS} s idle")
        check(used <= 0.01 * SECONDS, f"{used} s of CPU in {SECONDS} s idle")
        check(isod.resident_kib() < MEMORY_KIB, f"{isod.resident_kib()} KiB resident")


main(scenario)
