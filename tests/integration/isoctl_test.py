"""isoctl against a running isod: every question in both forms, the tables on a terminal of 80 columns, names that an
attacker chose, exit codes, the socket over TLS, watching while an incident forms, and a daemon that is gone."""
import json
import os
import pty
import re
import struct
import subprocess
import fcntl
import termios

from harness import BUILD, Isod, check, main

# A user name as an attacker may send it: terminal escapes, a right-to-left override, C1.
HOSTILE = "ev\x1b[2Jil\u202e\u009b31m"


def guessing(address, user="root", count=12):
    return [f"<38>Nov 23 18:00:{n % 60:02} web1 sshd[77]: Failed password for {user} from {address} port {4000 + n} ssh2"
            for n in range(count)]


def on_terminal(isod, *arguments, columns=80):
    """What isoctl writes to a terminal of that width."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    process = subprocess.Popen([os.path.join(BUILD, "isoctl"), "--socket", isod.path("isod.sock"), *arguments],
                               stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.STDOUT, env=env)
    os.close(slave)
    out = b""
    try:
        while chunk := os.read(master, 65536):
            out += chunk
    except OSError:
        pass  # the terminal's other side is closed
    process.wait()
    os.close(master)
    return out.decode().replace("\r\n", "\n")


def scenario():
    with Isod() as isod:
        isod.send("--tcp", guessing("203.0.113.7") + guessing("203.0.113.8", HOSTILE)
                  + guessing("2001:db8::1", "漢字" * 30))
        isod.wait(lambda: len(isod.incidents()) >= 3, "incidents form")
        isod.wait_events(36, "tcp/")
        lists(isod)
        one_incident(isod)
        the_rest(isod)
        tables(isod)
        watching(isod)
        over_tls(isod)
        wrong_use(isod)
        isod.stop()
        gone = isod.isoctl("status", check_exit=False)
        check(gone.returncode == 3 and "does not run" in gone.stderr, f"a daemon that is gone: {gone}")


def lists(isod):
    incidents = isod.incidents()
    check([i["id"] for i in incidents] == sorted((i["id"] for i in incidents), reverse=True), "newest first")
    check(all(i["timeline"] == [] and i["evidence"] == [] for i in incidents), "lists are short")
    by = {e["name"]: i["id"] for i in incidents for e in i["entities"] if e["kind"] == "address"}
    check({"203.0.113.7", "203.0.113.8", "2001:db8::1"} <= set(by), f"an incident for each source: {by}")
    for name in ("2001:db8::1", "address:2001:DB8:0::1"):
        found = isod.ask("incidents", "list", "--entity", name)
        check([i["id"] for i in found] == [by["2001:db8::1"]], f"--entity {name}: {found}")
    check(isod.ask("incidents", "list", "--entity", "user:203.0.113.7") == [], "an address is no user")
    check(isod.ask("incidents", "list", "--since", "2100-01-01T00:00:00Z") == [], "nothing since 2100")
    check(len(isod.ask("incidents", "list", "--since", "1h", "--limit", "2")) == 2, "--since and --limit")
    check(isod.ask("incidents", "list", "--state", "closed,reviewed") == [], "none is closed")
    check(len(isod.ask("incidents", "list", "--state", "open")) == len(incidents), "all are open")


def one_incident(isod):
    id = str(isod.ask("incidents", "list", "--entity", "203.0.113.7")[0]["id"])
    shown, = isod.ask("incidents", "show", id)
    check(shown["timeline"] and shown["evidence"] and shown["matches"] >= 5, f"shown whole: {shown}")
    taken, = isod.ask("incidents", "ack", id, "--note", "is looked at")
    check(taken["state"] == "triaged" and taken["owner"] and "is looked at" in json.dumps(taken), f"taken: {taken}")
    check(isod.isoctl("incidents", "ack", id, check_exit=False).returncode == 1, "acknowledged once")
    closed, = isod.ask("incidents", "close", id, "--as=true_positive", "--note", "blocked")
    check(closed["state"] == "closed" and closed["disposition"] == "true_positive", f"closed: {closed}")
    check(isod.isoctl("incidents", "close", id, "--as", "benign", check_exit=False).returncode == 1, "closed once")
    none = isod.isoctl("incidents", "show", "4711", check_exit=False)
    check(none.returncode == 1 and "4711" in none.stderr and not none.stdout, "no such incident")
    check(len(isod.ask("incidents", "list", "--state", "closed")) == 1, "listed as closed")


def the_rest(isod):
    top = isod.ask("risk", "top", "--limit", "5")
    scores = [e["score_milli"] for e in top]
    check(top and scores == sorted(scores, reverse=True), "highest first")
    check({e["entity"]["kind"] for e in isod.ask("risk", "top", "--kind", "address")} == {"address"}, "of one kind")
    series = isod.ask("metrics", "--scope", "source", "--resolution", "hour", "--points", "2")
    check(any(s["name"].startswith("tcp/") and s["total"] == 36 for s in series), f"metrics: {series}")
    check(all(s["resolution"] == "hour" and len(s["points"]) <= 2 for s in series), "as asked")
    check(isod.ask("metrics", "--scope", "nonsense") == [], "an empty list is no error")
    check(isod.ask("notifications") == [], "nobody is told without routes")
    status = isod.status()
    check(status["your_role"] == "admin" and status["incidents_total"] >= 3, "status")
    check(status["ledger_sequence"] > 0 and len(status["ledger_head"]) == 64, "the ledger's head")


def tables(isod):
    commands = [("status", "--sources"), ("incidents", "list"), ("risk", "top"), ("metrics",), ("notifications",)]
    commands += [("incidents", "show", str(i["id"])) for i in isod.incidents()]
    for command in commands:
        text = on_terminal(isod, *command)
        check(text.strip(), f"{command} says something")
        for line in text.splitlines():
            check(not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", line), f"{command}: obeyed: {line!r}")
            wide = sum(2 if "\u2e80" <= c <= "\ua4cf" else 1 for c in line)
            check(wide <= 80, f"{command}: {wide} columns: {line}")
    listed = on_terminal(isod, "incidents", "list")
    check(re.search(r"^ *ID +SEVERITY +STATE +AGE +MATCHES +ENTITY +TITLE$", listed, re.M), f"titles:\n{listed}")
    check("203.0.113.7" in listed and "triaged" not in listed and "closed" in listed, f"rows:\n{listed}")


def watching(isod):
    watcher = subprocess.Popen([os.path.join(BUILD, "isoctl"), "--socket", isod.path("isod.sock"), "--json", "watch",
                                "--severity", "low"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        first = json.loads(watcher.stdout.readline())
        check(first["state"] == "detected", "first what is open")
        isod.send("--tcp", guessing("203.0.113.99"))
        while True:
            line = watcher.stdout.readline()
            check(line, "the watch goes on")
            change = json.loads(line)
            if any(e["name"] == "203.0.113.99" for e in change["entities"]) and change["matches"] >= 5:
                break
    finally:
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()


def over_tls(isod):
    def remote(*arguments):
        return subprocess.run([os.path.join(BUILD, "isoctl"), "--json", "--host",
                               isod.status()["api_address"].replace("127.0.0.1", "localhost"),
                               "--ca", isod.path("tls", "ca.pem"), *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    identity = ("--cert", isod.path("tls", "client.pem"), "--key", isod.path("tls", "client.key"))
    done = remote(*identity, "status")
    check(done.returncode == 0, done.stderr)
    you = json.loads(done.stdout)
    check((you["you"], you["your_role"]) == ("cert:forwarder", "responder"), f"{you['you']}, {you['your_role']}")
    done = remote("status")
    check(done.returncode == 3 and done.stderr, f"without a certificate: {done}")


def wrong_use(isod):
    for arguments in (("incidents", "list", "--severity", "loud"), ("incidents", "list", "--limit", "many"),
                      ("incidents", "list", "--since", "yesterday"), ("incidents", "list", "--state", "open,shut"),
                      ("incidents", "list", "extra"), ("incidents", "show"), ("incidents", "show", "0"),
                      ("incidents", "show", "one"), ("incidents", "close", "1"), ("incidents", "close", "1", "--as", "x"),
                      ("incidents", "ack", "1", "--note"), ("metrics", "--points", "401"), ("status", "--source")):
        done = isod.isoctl(*arguments, check_exit=False)
        check(done.returncode == 2 and done.stderr and not done.stdout, f"{arguments}: {done}")
    done = isod.isoctl("status", "--source", check_exit=False)
    check("--sources" in done.stderr, "a near miss is named")
    done = isod.isoctl("incidents", "lsit", check_exit=False)
    check(done.returncode == 2 and done.stderr.startswith("isoctl: unknown command incidents lsit\n"), f"{done}")
    for arguments in (("-h",), ("rules", "--help"), ("rules", "match", "-h")):
        done = isod.isoctl(*arguments, check_exit=False)
        check(done.returncode == 0 and "usage: isoctl" in done.stdout + done.stderr, f"{arguments}: {done}")
    for port in ("0", "65536", "99999999999999999999"):
        done = isod.isoctl("send", "--tcp", f"127.0.0.1:{port}", "-", check_exit=False)
        check(done.returncode != 0 and "no HOST:PORT" in done.stderr, f"port {port}: {done}")


main(scenario)
