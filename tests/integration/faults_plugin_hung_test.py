"""A plugin hangs for an hour: it takes alerts and never answers, and another never even gets ready. Each costs its own
attempts and nothing else: it is killed when its time is over, started anew, and the others deliver at once. With the time-out
of an hour, too, nobody else waits for it, and isod stops in order."""
import os

from harness import Isod, check, main


def guesses(n):
    return [f"<38>Nov 23 18:00:{i:02} web{n} sshd[1]: Failed password for u{n} from 203.0.113.{n} port 1 ssh2"
            for i in range(30)]


def configure(isod, receiver):
    isod.write("deaf.sh", "#!/bin/sh\necho $$ >>" + isod.path("deaf") + "\nexec sleep 3600\n")
    os.chmod(isod.path("deaf.sh"), 0o755)
    # It says that it is ready (a delimited FromPlugin with an empty PluginReady), and nothing more.
    isod.write("hung.sh", "#!/bin/sh\necho $$ >>" + isod.path("hung") + "\nprintf '\\002\\012\\000'\nexec sleep 3600\n")
    os.chmod(isod.path("hung.sh"), 0o755)
    isod.escalate(isod.webhook(receiver, "good") + f"""\
  - {{name: hour, program: "{isod.path('hung.sh')}", timeout: 1h}}
  - {{name: hung, program: "{isod.path('hung.sh')}", timeout: 500ms}}
  - {{name: deaf, program: "{isod.path('deaf.sh')}", timeout: 500ms}}
""", """\
  - {name: hour, plugin: hour, min_level: low, attempts: 2, backoff: 100ms, backoff_max: 1s}
  - {name: hung, plugin: hung, min_level: low, attempts: 2, backoff: 100ms, backoff_max: 1s}
  - {name: deaf, plugin: deaf, min_level: low, attempts: 2, backoff: 100ms, backoff_max: 1s}
  - {name: good, plugin: good, min_level: low, attempts: 3, backoff: 100ms, backoff_max: 1s}
""")


def states(isod, route):
    return [n["state"] for n in isod.ask("notifications") if n["route"] == route]


def plugin(isod, name):
    return next(p for p in isod.status()["plugins"] if p["name"] == name)


def pids(isod, name):
    with open(isod.path(name)) as f:
        return [int(line) for line in f]


def runs(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


def scenario():
    with Isod(start=False) as isod:
        receiver = isod.receiver()
        configure(isod, receiver)
        isod.start()
        for n in (1, 2, 3):
            isod.send("--tcp", guesses(n))
            isod.wait(lambda: states(isod, "good").count("delivered") >= n, "the good plugin delivers at once")
            check("inflight" in states(isod, "hour"), "the one with an hour has not answered")
        for route in ("hung", "deaf"):
            isod.wait(lambda: states(isod, route).count("dead") >= 3, f"the alerts of {route} are given up")
            check(plugin(isod, route)["restarts"] > 0, f"{route} was started anew")
        check(states(isod, "hour").count("dead") == 0 and plugin(isod, "hour")["restarts"] == 0, "an hour is not over")
        check("did not answer within 0.5 s" in isod.log() and "did not become ready within 0.5 s" in isod.log(), "it is told why")
        left = pids(isod, "hung") + pids(isod, "deaf")
        isod.stop()
        isod.process = None
        check(not any(runs(pid) for pid in left), "no plugin outlives isod")
        receiver.close()


main(scenario)
