"""Redis is a view: emptied, killed and restarted under load it costs nothing but a moment, and is then complete again."""
import json
import os
import signal
import subprocess
import threading

from harness import Isod, check, main, need


def lines(begin, count):
    return [f"<38>Nov 23 18:00:00 web{n % 5} sshd[1]: Failed password for root from 203.0.113.{n % 40} port {n} ssh2"
            for n in range(begin, begin + count)]


def keys(isod):
    return set(isod.redis("KEYS", "iso:*").split())


def complete(isod):
    """The view holds what the API says."""
    incidents = isod.incidents()
    for i in incidents:
        held = isod.redis("HGET", f"iso:incident:{i['id']}", "json").strip()
        if not held or json.loads(held)["matches"] != i["matches"]:
            return False
    at_risk = isod.ask("risk", "top", "--limit", "1000")
    held = int(isod.redis("ZCARD", "iso:risk").strip() or 0)
    total = isod.ask("metrics", "--scope", "events", "--name", "received")
    metric = isod.redis("GET", "iso:metric:test:events:received:total").strip()
    return bool(incidents) and held == len(at_risk) and metric == str(total[0]["total"])


def redis_pid(isod):
    for line in isod.redis("INFO", "server").splitlines():
        if line.startswith("process_id:"):
            return int(line.split(":")[1])
    return None


def under_load(isod, begin, disturb):
    """Ships while `disturb` does its worst; afterwards the count must be exact and the view complete."""
    before = isod.events("tcp/")
    shipper = threading.Thread(target=lambda: [isod.send("--tcp", lines(begin + at, 1000)) for at in range(0, 10000, 1000)])
    shipper.start()
    disturb()
    shipper.join()
    isod.wait_events(before + 10000, "tcp/")
    isod.wait(lambda: complete(isod), "the view is complete again")


def scenario():
    need("redis-cli")
    with Isod() as isod:
        under_load(isod, 0, lambda: None)
        check(keys(isod), "the view holds keys")
        under_load(isod, 10000, lambda: isod.redis("FLUSHALL"))
        # Also when nothing happens afterwards.
        isod.redis("FLUSHALL")
        isod.wait(lambda: complete(isod), "an emptied view heals while isod is idle")

        pid = redis_pid(isod)
        under_load(isod, 20000, lambda: os.kill(pid, signal.SIGKILL))
        check(redis_pid(isod) not in (None, pid), "another redis-server runs")
        hung = redis_pid(isod)
        os.kill(hung, signal.SIGSTOP)
        isod.send("--tcp", lines(30000, 1000))
        isod.wait_events(31000, "tcp/")
        check(isod.answers(), "isod answers while Redis hangs")
        os.kill(hung, signal.SIGCONT)
        isod.wait(lambda: complete(isod), "the view is complete after a hang")

        check("message" not in isod.redis("HGETALL", "iso:node:test") and "test" in isod.redis("KEYS", "iso:node:*"),
              "the node tells of itself")
        check(int(isod.redis("XLEN", "iso:changes").strip()) > 0, "the stream of changes")
        pid = redis_pid(isod)
        isod.stop()
        check(subprocess.run(["ps", "-p", str(pid)], stdout=subprocess.DEVNULL).returncode != 0, "redis-server is gone")


main(scenario)
