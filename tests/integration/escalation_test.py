"""An incident goes to its plugins: the webhook to a real HTTPS receiver that fails twice first and proves the signature,
exec to a real program. A plugin that hangs and one that babbles cost nobody else anything. Acknowledging ends it, and a
notification keeps its key over a kill."""
import json
import os

from harness import Isod, Receiver, check, main

SECRET = "s3cr3t"


def guesses(address):
    return [f"<38>Nov 23 18:00:{n:02} web1 sshd[1]: Failed password for root from {address} port 1 ssh2" for n in range(30)]


def scripts(isod):
    keep = isod.path("kept")
    os.mkdir(keep)
    isod.write("keep.sh", f"#!/bin/sh\ncat >{keep}/$$.json\n")
    isod.write("hang.sh", "#!/bin/sh\nexec sleep 1000\n")
    isod.write("babble.sh", "#!/bin/sh\nexec yes nonsense\n")
    for name in ("keep.sh", "hang.sh", "babble.sh"):
        os.chmod(isod.path(name), 0o755)
    return keep


def configure(isod, receiver):
    isod.write("escalation.yaml", f"""
plugins:
  - name: oncall
    program: webhook
    options: {{url: "{receiver.url}", ca: "{isod.path('tls', 'ca.pem')}", secret: "{SECRET}"}}
  - name: keeper
    program: exec
    options: {{program: "{isod.path('keep.sh')}"}}
  - {{name: hanging, program: "{isod.path('hang.sh')}", timeout: 2s}}
  - {{name: babbling, program: "{isod.path('babble.sh')}"}}
routes:
  - {{name: web, plugin: oncall, min_level: low, attempts: 6, backoff: 100ms, backoff_max: 1s}}
  - {{name: program, plugin: keeper, min_level: low, attempts: 3, backoff: 1s, backoff_max: 5s}}
  - {{name: hung, plugin: hanging, min_level: low, attempts: 2, backoff: 100ms, backoff_max: 1s}}
  - {{name: babble, plugin: babbling, min_level: low, attempts: 2, backoff: 100ms, backoff_max: 1s}}
""")


def notifications(isod):
    return {(n["incident"], n["route"]): n for n in isod.ask("notifications")}


def scenario():
    with Isod(start=False) as isod:
        receiver = Receiver(isod.path("tls", "server.pem"), isod.path("tls", "server.key"), SECRET, answers=[500, 503])
        keep = scripts(isod)
        configure(isod, receiver)
        isod.start()
        isod.send("--tls", guesses("203.0.113.50"))
        isod.wait(lambda: receiver.alerts, "the webhook delivers after two failures")
        key, alert = receiver.alerts[0]
        check(not receiver.bad, "every signature was right")
        check(key and alert["incident"]["id"] == 1, f"the alert tells its incident: {alert}")
        isod.wait(lambda: any(n.endswith(".json") for n in os.listdir(keep)) and first(keep), "the program got its alert")
        check(first(keep)["incident"]["id"] == 1, "with the incident as JSON")
        isod.wait(lambda: notifications(isod).get((1, "web"), {}).get("state") == "delivered", "delivered")
        check(notifications(isod)[1, "web"]["attempts"] == 3, "at the third attempt")
        for route in ("hung", "babble"):
            isod.wait(lambda: notifications(isod)[1, route]["state"] == "dead", f"{route} ends as a dead letter")
        check(isod.status()["notifications_dead"] == 2, "dead letters are in the status")
        over_a_kill(isod, receiver)
        receiver.close()


def first(keep):
    for name in os.listdir(keep):
        with open(os.path.join(keep, name)) as f:
            text = f.read()
        try:
            return json.loads(text)
        except ValueError:
            pass
    return None


def over_a_kill(isod, receiver):
    """Undelivered when isod is killed: delivered after the start, under the same key."""
    receiver.answers[:] = [503] * 2
    known = {k for k, _ in receiver.alerts}
    isod.send("--tls", guesses("203.0.113.51"))
    isod.wait(lambda: notifications(isod).get((2, "web"), {}).get("attempts", 0) >= 1, "a first attempt")
    isod.kill()
    isod.start()
    isod.wait(lambda: any(a["incident"]["id"] == 2 for _, a in receiver.alerts), "delivered after the kill")
    keys = {k for k, a in receiver.alerts if a["incident"]["id"] == 2}
    check(len(keys - known) == 1, f"one key over all attempts: {keys}")
    isod.isoctl("incidents", "ack", "2")
    isod.wait(lambda: all(n["state"] not in ("pending", "inflight") for (i, _), n in notifications(isod).items() if i == 2),
              "acknowledging ends what is pending")


main(scenario)
