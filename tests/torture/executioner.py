"""Kills isod and its Redis at random instants, and at those where it hurts most."""
import collections
import glob
import os
import signal
import subprocess
import time

from harness import BUILD, WAIT_SECONDS, Failure, Isod, check

# Seconds to look out for what does not come up in every life: segments are compressed 5 s after the start.
COMPRESSING_SECONDS, SAVING_SECONDS = 8, 2
# What is done how often.
DEEDS = {"working": 12, "starting": 4, "detecting_again": 4, "stopping": 4, "saving": 4, "compressing": 1}


class Victim(Isod):
    """An isod whose death is expected."""

    def spawn(self):
        with open(self.path("log"), "ab") as log:
            self.process = subprocess.Popen([os.path.join(BUILD, "isod"), "--config", self.path("isod.yaml")],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)

    def ready(self):
        self.wait(self.answers, "isod answers")

    def start(self):
        self.spawn()
        self.ready()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure("isod did not stop on SIGTERM")
        self.process = None
        check(status == 0, f"SIGTERM: isod ended with {status}: {self.log()[-3000:]}")

    def redis_pids(self):
        """Servers that this isod started."""
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path) as f:
                    pid, rest = f.read().split(" (", 1)
                name, fields = rest.rsplit(") ", 1)
                if name.startswith("redis-server") and int(fields.split()[1]) == self.process.pid:
                    found.append(int(pid))
            except (OSError, ValueError, IndexError):
                continue
        return found

    def counters(self):
        return {c["name"]: int(c.get("value", 0)) for c in self.status()["counters"]}

    def settled(self):
        n = self.counters()
        return n["ingest_workers_redetecting"] == 0 and n["ingest_frames_untallied"] == 0


class Executioner:
    """`after_kill`, `before_start`: called with isod dead, e.g. to cut the power, to change the configuration."""

    def __init__(self, isod, client, dice, kills, redis_kills, after_kill=None, before_start=None):
        self.isod, self.client, self.dice = isod, client, dice
        self.kills, self.redis_kills = kills, redis_kills
        self.after_kill, self.before_start = after_kill, before_start
        self.killed, self.redis_killed = 0, 0
        self.kinds = collections.Counter()
        self.terminated, self.seen = 0, 0

    # ---- waiting ----

    def wait_progress(self, goal):
        """And that there was some since the last death: events are on their way when the next one comes."""
        goal = max(goal, self.seen + 1)
        until = time.monotonic() + 5 * WAIT_SECONDS
        while self.client.progress() < goal and not self.client.done():
            self.client.check()
            check(self.isod.process.poll() is None, f"isod ended by itself: {self.isod.log()[-3000:]}")
            check(time.monotonic() < until, f"no progress: {self.client.progress()} of {goal}")
            time.sleep(0.002)

    def look_out(self, seconds, *patterns):
        """For a file that is there for a moment only."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if any(glob.glob(self.isod.path("state", p)) for p in patterns):
                return True
        return False

    # ---- deeds ----

    def kill(self, kind):
        check(self.isod.process.poll() is None, f"isod ended by itself: {self.isod.log()[-3000:]}")
        self.isod.kill()
        self.seen = self.client.progress()
        self.killed += 1
        self.kinds[kind] += 1
        if self.after_kill:
            self.after_kill()

    def spawn(self):
        if self.before_start:
            self.before_start()
        self.isod.spawn()

    def working(self):
        time.sleep(self.dice.random() * 0.05)
        self.kill("working")

    def starting(self):
        """Again before it is ready, and again."""
        self.kill("working")
        for _ in range(self.dice.randrange(1, 4)):
            self.spawn()
            time.sleep(self.dice.random() * self.dice.choice((0.02, 0.2, 0.6)))
            self.kill("starting")

    def detecting_again(self):
        """As soon as it answers: it goes over what it had not counted."""
        self.kill("working")
        self.spawn()
        self.isod.ready()
        time.sleep(self.dice.random() * 0.1)
        self.kill("detecting again")

    def stopping(self):
        """SIGTERM, also in the middle of going over evidence."""
        self.kill("working")
        self.spawn()
        if self.dice.random() < 0.7:
            self.isod.ready()
        else:
            time.sleep(self.dice.random() * 0.6)
        self.isod.process.send_signal(signal.SIGTERM)
        if self.dice.random() < 0.5:
            time.sleep(self.dice.random() * 0.05)
            if self.isod.process.poll() is None:
                return self.kill("stopping")
        self.isod.process.wait(WAIT_SECONDS)
        self.terminated += 1
        self.isod.process = None

    def compressing(self):
        self.kill("compressing" if self.look_out(COMPRESSING_SECONDS, "evidence/*/*.tmp", "ledger/*.tmp") else "working")

    def saving(self):
        self.kill("saving" if self.look_out(SAVING_SECONDS, "snapshots/*.tmp") else "working")

    def kill_redis(self):
        for pid in self.isod.redis_pids():
            os.kill(pid, signal.SIGKILL)
            self.redis_killed += 1

    # ---- all of it ----

    def run(self):
        count = self.client.events.count
        while self.killed < self.kills or self.redis_killed < self.redis_kills:
            at = self.killed / self.kills if self.kills else 1
            # No more for each kill than its share: all of them shall meet events on their way.
            self.client.allow(min(count, int((self.killed + 1) * count / self.kills) if self.kills else count))
            goal = int(min(at + self.dice.random() / (self.kills or 1), 0.98) * count)
            self.wait_progress(goal)
            if self.redis_killed < self.redis_kills and self.redis_killed <= at * self.redis_kills:
                self.isod.wait(self.isod.redis_pids, "isod starts a redis-server")
                self.kill_redis()
                time.sleep(self.dice.random() * 0.1)
            if self.killed >= self.kills:
                continue
            getattr(self, self.dice.choices(list(DEEDS), DEEDS.values())[0])()
            self.spawn()
            self.isod.ready()
        self.client.allow(count)
