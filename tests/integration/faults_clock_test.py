"""The wall clock jumps a year forward, back again and another year back, in a running isod and over a restart. The ledger's
time never decreases, nothing is measured as negative, what waits for a time is done once and does not wait a year, and
what comes in meanwhile is detected as ever."""
import json

from harness import Isod, check, main, skip
from machine import Machine, available

YEAR = 365 * 86400
TICKS_MAX = 100  # a storm has thousands a second


def guesses(address):
    """Each with a host and a user of its own: an incident of its own."""
    host = "web" + address.rsplit(".")[-1]
    return [f"<38>Nov 23 18:00:{n:02} {host} sshd[1]: Failed password for u{host} from {address} port 1 ssh2"
            for n in range(30)]


def configure(isod, receiver):
    isod.escalate(isod.webhook(receiver), """\
  - {name: web, plugin: oncall, min_level: low, attempts: 8, backoff: 1s, backoff_max: 2s}
""")


def ledger(isod):
    return [json.loads(line) for line in isod.isoctl("ledger", "show", isod.path("state", "ledger")).stdout.splitlines()]


def alerted(receiver, address):
    return [a for _, a in receiver.alerts if any(e["name"] == address for e in a["incident"]["entities"])]


def attack(isod, receiver, address, failures):
    """Detected, and delivered although the receiver fails at first: attempts wait for a time."""
    receiver.answers.extend([500] * failures)
    before = isod.events("tcp/")
    isod.send("--tcp", guesses(address))
    isod.wait_events(before + 30, "tcp/")
    isod.wait(lambda: alerted(receiver, address), f"the alert about {address}")


def sane(isod):
    for i in isod.incidents():
        check(i["opened_ns"] <= i["changed_ns"] and i["first_ns"] <= i["last_ns"], f"times of {i}")
    records = ledger(isod)
    for a, b in zip(records, records[1:]):
        check(a["time_ns"] <= b["time_ns"], f"the ledger's time decreases at {b['sequence']}")
    check(sum("tick" in json.dumps(r["body"]) for r in records) < TICKS_MAX, "timers fire in a storm")


def scenario():
    if available():
        skip(available())
    machine = Machine()
    with Isod(start=False, env=machine.env) as isod:
        receiver = isod.receiver()
        configure(isod, receiver)
        isod.start()
        attack(isod, receiver, "203.0.113.1", 0)
        machine.clock(YEAR)
        # The receiver's certificate of today is not good in a year; the plugin's clock is right.
        attack(isod, receiver, "203.0.113.2", 2)
        machine.clock(0)
        attack(isod, receiver, "203.0.113.3", 2)
        check("clock is" in isod.log() and "behind the ledger" in isod.log(), "the log tells of the clock")
        machine.clock(-YEAR)
        attack(isod, receiver, "203.0.113.4", 2)
        isod.stop()
        sane_after_restart(isod, receiver)
        receiver.close()


def sane_after_restart(isod, receiver):
    isod.start()
    attack(isod, receiver, "203.0.113.5", 1)
    isod.wait(lambda: {n["state"] for n in isod.ask("notifications")} <= {"delivered", "cancelled"}, "all is delivered")
    sane(isod)
    isod.stop()
    isod.isoctl("ledger", "verify", isod.path("state", "ledger"))


main(scenario)
