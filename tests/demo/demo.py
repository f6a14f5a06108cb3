#!/usr/bin/python3
"""make demo: the main job on real input, from a log line to an alert.

Starts isod on an embedded Redis, ships a recorded attack over TLS among 2,000 lines of ordinary noise, and shows what
came of it at each step. Exits non-zero if any of it did not happen."""
import datetime
import os
import random
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))
from harness import TOP, Failure, Isod, Receiver, check  # noqa: E402

NOISE = 2000
SECRET = "demonstration only"
ATTACKER = "203.0.113.66"

ORDINARY = [
    (78, "CRON[{pid}]: (root) CMD (test -x /usr/sbin/anacron || run-parts /etc/cron.hourly)"),
    (86, "CRON[{pid}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"),
    (86, "CRON[{pid}]: pam_unix(cron:session): session closed for user root"),
    (38, "sshd[{pid}]: Accepted publickey for {user} from 192.0.2.{n} port {port} ssh2: ED25519 SHA256:kJ3p0vXw"),
    (86, "sshd[{pid}]: pam_unix(sshd:session): session opened for user {user}(uid=10{n}) by (uid=0)"),
    (38, "sshd[{pid}]: Received disconnect from 192.0.2.{n} port {port}:11: disconnected by user"),
    (38, "sshd[{pid}]: Connection from 192.0.2.{n} port {port} on 192.0.2.10 port 22 rdomain \"\""),
    (30, "systemd[1]: Started session-{n}.scope - Session {n} of User {user}."),
    (38, "systemd-logind[612]: New session {n} of user {user}."),
    (30, "dhclient[{pid}]: DHCPACK of 192.0.2.{n} from 192.0.2.1"),
    (22, "postfix/smtpd[{pid}]: connect from mail.example.org[198.51.100.{n}]"),
    (6, "kernel: [{pid}.{port}] eth0: link up, 1000 Mbps, full duplex"),
    (30, "nginx[{pid}]: 192.0.2.{n} - - \"GET /index.html HTTP/1.1\" 200 {port}"),
]


def say(text):
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


def show(text, most=40):
    lines = text.rstrip().splitlines()
    print("\n".join("   " + line for line in lines[:most]))
    if len(lines) > most:
        print(f"   … {len(lines) - most} more lines")


def stamp(when, pri, rest):
    return f"<{pri}>{when.isoformat(timespec='microseconds')} {rest}"


def noise(count, since, seconds):
    chance = random.Random(2026)  # the same noise every time
    lines = []
    for _ in range(count):
        pri, text = chance.choice(ORDINARY)
        text = text.format(pid=chance.randint(900, 32000), n=chance.randint(11, 99), port=chance.randint(1024, 60000),
                           user=chance.choice(["bob", "carol", "deploy", "erin"]))
        host = chance.choice(["web1", "web2", "db1", "mail"])
        when = since + datetime.timedelta(seconds=chance.random() * seconds)
        lines.append((when, stamp(when, pri, f"{host} {text}")))
    return lines


def attack(since):
    lines = []
    with open(os.path.join(TOP, "tests", "data", "demo", "attack.log")) as f:
        for line in f:
            if line.startswith("#"):
                continue
            offset, pri, rest = line.rstrip("\n").split(" ", 2)
            when = since + datetime.timedelta(seconds=int(offset))
            rest = re.sub(r"audit\(\d+\.", f"audit({int(when.timestamp())}.", rest)
            lines.append((when, stamp(when, pri, rest)))
    return lines


def demo():
    begin = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=130)
    say("starting isod: TLS listener, embedded Redis, webhook plugin, an HTTPS receiver for its alerts")
    with Isod(start=False) as isod:
        receiver = Receiver(isod.path("tls", "server.pem"), isod.path("tls", "server.key"), SECRET)
        isod.write("escalation.yaml", f"""
plugins:
  - name: oncall
    program: webhook
    options: {{url: "{receiver.url}", ca: "{isod.path('tls', 'ca.pem')}", secret: "{SECRET}"}}
routes:
  - {{name: wake-somebody, plugin: oncall, min_level: high, attempts: 5, backoff: 1s, backoff_max: 10s}}
""")
        isod.start()
        show(isod.isoctl("status").stdout, 12)
        run(isod, receiver, begin)
        say("stopping")
        receiver.close()
    say("done: every step happened")


def ship(isod, lines):
    lines = [line for _, line in sorted(lines)]
    show(isod.send("--tls", lines).stdout or f"{len(lines)} lines sent over TLS")
    return len(lines)


def run(isod, receiver, begin):
    script = attack(begin)
    ordinary = noise(NOISE, begin, 110)
    until = [next(w for w, l in script if "Accepted password" in l), begin + datetime.timedelta(days=1)]
    say(f"shipping {NOISE} lines of ordinary noise with {len(script)} lines of an attack among them, over TLS")
    sent = ship(isod, [x for x in script + ordinary if x[0] < until[0]])
    isod.wait_events(sent, "tls/")
    isod.wait(lambda: any(ATTACKER in i["title"] for i in isod.incidents()), "the guessing opens an incident")
    say("so far: passwords are being guessed")
    show(isod.isoctl("incidents", "list").stdout)
    sent += ship(isod, [x for x in script + ordinary if x[0] >= until[0]])
    isod.wait_events(sent, "tls/")
    print(f"   {sent} lines were sent, {isod.events('tls/')} events counted")

    def broken_in():
        return [i for i in isod.incidents() if any(e["name"] == ATTACKER for e in i["entities"])
                and i["severity"] in ("high", "critical") and len(i["tactics"]) >= 3]
    isod.wait(lambda: bool(broken_in()), "guessing, break-in, privilege and tampering become one incident")
    incident = broken_in()[0]
    say("the incident, with its timeline")
    show(isod.isoctl("incidents", "show", str(incident["id"])).stdout, 60)

    isod.wait(lambda: any(a["incident"]["id"] == incident["id"] for _, a in receiver.alerts), "the alert arrives")
    key, alert = next(x for x in receiver.alerts if x[1]["incident"]["id"] == incident["id"])
    say("the alert as the HTTPS receiver got it, its HMAC-SHA256 signature proven")
    print(f"   Idempotency-Key: {key}\n   {alert['incident']['severity']}: {alert['incident']['title']}")
    check(not receiver.bad, "an alert had a wrong signature")

    say("who is at risk")
    show(isod.isoctl("risk", "top", "--limit", "5").stdout)
    top = isod.ask("risk", "top", "--limit", "3")
    check(any(e["entity"]["name"] in (ATTACKER, "alice@web1", "web1") for e in top[:1]), "the attack tops the risk list")

    isod.wait(lambda: ATTACKER in isod.redis("ZREVRANGE", "iso:risk", "0", "-1"), "Redis holds the risk")
    say("what Redis holds for other services")
    print("   ZREVRANGE iso:risk 0 2 WITHSCORES")
    show(isod.redis("ZREVRANGE", "iso:risk", "0", "2", "WITHSCORES"))
    print(f"   HGETALL iso:incident:{incident['id']}, without its json")
    held = isod.redis("HGETALL", f"iso:incident:{incident['id']}").splitlines()
    show("\n".join(f"{k} = {v}" for k, v in zip(held[::2], held[1::2]) if k != "json"))
    check("severity" in held, "Redis holds the incident")

    isod.isoctl("incidents", "ack", str(incident["id"]), "--note", "on it")
    isod.isoctl("incidents", "close", str(incident["id"]), "--as", "true_positive", "--note", "account locked")
    say("acknowledged, handled, closed; and the ledger proves that nothing was changed since")
    show(isod.isoctl("ledger", "verify", isod.path("state", "ledger")).stdout)


try:
    demo()
except Failure as failure:
    print(f"\nFAILED: {failure}", file=sys.stderr)
    sys.exit(1)
