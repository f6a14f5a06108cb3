"""An incident goes to its plugins: the webhook to a real HTTPS receiver that fails twice first and proves the signature,
exec to a real program. A plugin that hangs and one that babbles cost nobody else anything. Acknowledging ends it, and a
notification keeps its key over a kill."""
import json
import os

from harness import Isod, check, main


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
    isod.escalate(isod.webhook(receiver) + f"""\
  - name: keeper
    program: exec
    options: {{program: "{isod.path('keep.sh')}"}}
  - {{name: hanging, program: "{isod.path('hang.sh')}", timeout: 2s}}
  - {{name: babbling, program: "{isod.path('babble.sh')}"}}
""", """\
  - {name: web, plugin: oncall, min_level: low, attempts: 6, backoff: 100ms, backoff_max: 1s}
  - {name: program, plugin: keeper, min_level: low, attempts: 3, backoff: 1s, backoff_max: 5s}
  - {name: hung, plugin: hanging, min_level: low, attempts: 2, backoff: 100ms, backoff_max: 1s}
  - {name: babble, plugin: babbling, min_level: low, attempts: 2, backoff: 100ms, backoff_max: 1s}
""")


def states(isod, route, incident=None):
    return {n["state"] for n in isod.ask("notifications") if n["route"] == route and incident in (None, n["incident"])}


def scenario():
    with Isod(start=False) as isod:
        receiver = isod.receiver(answers=[500, 503])
        keep = scripts(isod)
        configure(isod, receiver)
        isod.start()
        isod.send("--tls", guesses("203.0.113.50"))
        isod.wait(lambda: receiver.alerts, "the webhook delivers after two failures")
        check(not receiver.bad, "every signature was right")
        check(all(k and a["incident"]["id"] for k, a in receiver.alerts), f"alerts tell their incident: {receiver.alerts}")
        isod.wait(lambda: 1 in [a["incident"]["id"] for a in kept(keep)], "the program got the incident as JSON")
        isod.wait(lambda: states(isod, "web") == {"delivered"}, "delivered")
        web = [n for n in isod.ask("notifications") if n["route"] == "web"]
        check(sum(n["attempts"] for n in web) == len(web) + 2, f"two attempts failed: {web}")
        for route in ("hung", "babble"):
            isod.wait(lambda: states(isod, route) == {"dead"}, f"{route} ends as a dead letter")
        check(isod.status()["notifications_dead"] >= 2, "dead letters are in the status")
        over_a_kill(isod, receiver)
        receiver.close()


def kept(keep):
    """The alerts the program wrote down; one being written is not there yet."""
    alerts = []
    for name in os.listdir(keep):
        with open(os.path.join(keep, name)) as f:
            try:
                alerts.append(json.loads(f.read()))
            except ValueError:
                pass
    return alerts


def over_a_kill(isod, receiver):
    """Undelivered when isod is killed: delivered after the start, under the same key."""
    receiver.answers[:] = [503] * 3
    known = {k for k, _ in receiver.alerts}
    isod.send("--tls", guesses("203.0.113.51"))
    isod.wait(lambda: len(receiver.answers) < 3, "a first attempt")
    incident = max(i["id"] for i in isod.incidents())
    isod.kill()
    receiver.answers.clear()
    isod.start()
    isod.wait(lambda: incident in [a["incident"]["id"] for _, a in receiver.alerts], "delivered after the kill")
    isod.wait(lambda: states(isod, "web", incident) == {"delivered"}, "and known to be")
    told = len([n for n in isod.ask("notifications") if n["incident"] == incident and n["route"] == "web"])
    keys = {k for k, a in receiver.alerts if a["incident"]["id"] == incident}
    check(len(keys - known) == told, f"one key over all attempts of a notification: {keys}")
    isod.isoctl("incidents", "ack", str(incident))
    isod.wait(lambda: not {n["state"] for n in isod.ask("notifications") if n["incident"] == incident}
              & {"pending", "inflight"}, "acknowledging ends what is pending")


main(scenario)
