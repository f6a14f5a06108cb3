#!/usr/bin/python3
"""Nothing that was acknowledged is lost, nothing is counted twice: isod and its Redis are killed again and again while
numbered events come in, and afterwards evidence, accounts, incidents and ledger are gone over. `make torture`;
--help tells the options. Three clients, one after the other (--only):

relp      A real rsyslog with omrelp, through a relay that keeps a book of its own. Every acknowledged event is in
          evidence; no event is there more often than it was sent; repeats are at most kills × the client's window.
producer  isod.v1, numbered batches: every event exactly once.
tls       Syslog over TLS, without acknowledgement: of each connection a beginning is in evidence, without gaps or
          repeats; what is missing is its end, which had not been read yet when isod died.
relp-tls, producer-tls
          relp and producer over TLS, with certificates on both sides.
power-…   relp and producer on a disk that forgets what was not synced (tests/faults/shim.c) at each kill.

relp and relp-tls run with one worker, and with correlations; the others with one to three, another number at each start, and without:
what several workers have is gone over side by side, in no order among them, and correlations look at the order.

For each: the account tells as many frames as are in evidence; the ledger and evidence verify; folding the ledger anew
gives the digest that the daemon tells; and an isod that gets only the evidence, and is left alone with it, comes to the
same books (daemon/officer/digest.h): the same incidents, risks, accounts and counts of rules."""
import argparse
import glob
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))

from clients import Producer, ProducerTls, Relp, RelpTls, Tls, free_ports
from events import Events
from executioner import Executioner, Victim
from harness import BUILD, TOP, Failure, check
from machine import Disk, Machine, available

# Small files, so that all the time one is finished, compressed, written; much uncounted when a kill comes.
SETTINGS = """
evidence: {segment_size: 1MiB, sync_interval: 50ms}
ledger: {segment_size: 128KiB, tally_interval: 2s}
snapshot: {records: 1000, interval: 1s}
"""
RULES = ["authentication", "firewall", "log_tampering", "persistence", "privilege"]  # not isod's own: they tell of kills
WORKERS_MAX = 3
CLIENTS = {"relp": Relp, "producer": Producer, "tls": Tls, "relp-tls": RelpTls, "producer-tls": ProducerTls, "power-relp": Relp, "power-producer": Producer}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--events", type=int, default=1000000)
    p.add_argument("--kills", type=int, default=100)
    p.add_argument("--redis-kills", type=int, default=20)
    p.add_argument("--power-events", type=int, help="of power-…; a twentieth of --events")
    p.add_argument("--power-kills", type=int, help="of power-…; a fifth of --kills")
    p.add_argument("--seed", type=int, help="of the kills; by the clock, and printed")
    p.add_argument("--only", action="append", choices=CLIENTS, help="may be given several times")
    p.add_argument("--keep", action="store_true", help="keep the folders, and tell where they are")
    a = p.parse_args()
    a.seed = a.seed if a.seed is not None else time.time_ns() % 10**6
    a.power_events = a.power_events or max(a.events // 20, 1000)
    a.power_kills = a.power_kills or max(a.kills // 5, 1)
    return a


def copy_rules(isod, ordered):
    os.mkdir(isod.path("rules"))
    for folder in RULES:
        for path in glob.glob(os.path.join(TOP, "conf", "rules", folder, "*.yml")):
            with open(path) as f:
                if ordered or "\ncorrelation:" not in f.read():
                    shutil.copy(path, isod.path("rules"))


def set_workers(isod, count):
    with open(isod.path("isod.yaml")) as f:
        text = f.read()
    isod.write("isod.yaml", re.sub(r"^workers: .*$", f"workers: {count}", text, flags=re.M))


def configure(isod, ordered, redis="embedded"):
    relp, relptls, tls, api = free_ports(4)
    copy_rules(isod, ordered)
    with open(isod.path("isod.yaml")) as f:
        text = f.read()
    text = re.sub(r"^rules:.*$", "rules: [rules]", text, flags=re.M)
    text = re.sub(r'(name: tls, kind: tls, address: )"[^"]*"', rf'\1"127.0.0.1:{tls}"', text)
    certificates = "certificate: tls/server.pem, key: tls/server.key, ca: tls/ca.pem, peers: required"
    text = text.replace("\nrules:", f"""
  - {{name: relp, kind: relp, address: "127.0.0.1:{relp}"}}
  - {{name: relptls, kind: relp-tls, address: "127.0.0.1:{relptls}", {certificates}}}
rules:""", 1)
    text = text.replace('address: "127.0.0.1:0"', f'address: "127.0.0.1:{api}"')
    text = text.replace("{certificate: forwarder, role: responder}", "{certificate: forwarder, role: producer}")
    level = "medium" if ordered else "low"  # only correlations have more than that
    text = text.replace("\nrules:", f"\nincidents: {{window: 7d, open_level: {level}}}\nrules:", 1)
    text = text.replace("redis: {mode: embedded}", f"redis: {{mode: {redis}}}")
    isod.write("isod.yaml", f"workers: {1 if ordered else WORKERS_MAX}\n" + text)
    return {"relp": relp, "relptls": relptls, "tls": tls, "producer": api}


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def count(isod, client):
    book = [client.book] if isinstance(client, Relp) else []
    return json.loads(run(os.path.join(BUILD, "torture", "count"), isod.path("state"), client.listener,
                          str(client.events.count), *book))


def replayed(isod, *options):
    text = run(os.path.join(BUILD, "isod"), "--replay", isod.path("state"), *options)
    return dict(line.split(None, 1) for line in text.splitlines())


# ---- what must hold ----

def check_relp(found, client, kills):
    count = client.events.count
    check(found["acknowledged"] == count, f"acknowledged: {found['acknowledged']} of {count}")
    check(found["acknowledged_lost"] == 0, f"{found['acknowledged_lost']} acknowledged events are not in evidence: {found['gaps'][:20]}")
    check(found["distinct"] == count and found["strange"] == 0, f"{found['distinct']} of {count} are in evidence: {found['gaps'][:20]}")
    check(found["more_than_sent"] == 0, f"{found['more_than_sent']} events are in evidence more often than they were sent")
    repeats = found["frames"] - found["distinct"]
    check(repeats <= kills * client.window, f"{repeats} repeats after {kills} kills, the window is {client.window}")
    print(f"  sent {found['sent']} frames over {found['connections']} connections, {found['sent'] - count} of them again; "
          f"acknowledged {found['acknowledged']}; of what was acknowledged {found['resent_acknowledged']} were sent again")
    print(f"  in evidence {found['frames']} frames, {repeats} repeats; allowed: {kills} kills × {client.window} = {kills * client.window}")


def check_producer(found, client, kills):
    count = client.events.count
    check((found["frames"], found["distinct"], found["worst"]) == (count, count, 1) and found["misnumbered"] == 0
          and found["strange"] == 0, f"each exactly once: { {k: v for k, v in found.items() if k != 'gaps'} } {found['gaps'][:20]}")
    print(f"  in evidence {found['frames']} frames, each exactly once; {client.resent} were sent again and recognised")


def check_tls(found, client, kills):
    lost, ends = 0, {last: first for first, last in client.connections}
    for first, last in found["gaps"]:
        lost += last - first + 1
        # A stretch may take in whole connections that isod never read.
        while last >= first:
            check(last in ends, f"events {first} to {last} are missing from the middle of a connection")
            last = ends[last] - 1
    # At most one begun line a connection stands there cut off, and has lost its number or has it still.
    check(found["worst"] <= 1 and found["strange"] <= len(client.connections), f"no repeats: {found['worst']} {found['strange']}")
    print(f"  sent {client.sent} events over {len(client.connections)} connections; in evidence {found['frames']} frames; "
          f"{lost} events at the ends of connections had not been read when isod died")


CHECKS = {"relp": check_relp, "relptls": check_relp, "producer": check_producer, "tls": check_tls}


def check_account(isod, client, found):
    received = sum(s["received"] - s["refused"] - s["shed"] for name, s in isod.sources().items()
                   if name.startswith(client.listener + "/"))
    check(received == found["frames"], f"the account tells {received} frames, in evidence are {found['frames']}")
    for s in isod.sources().values():
        check(s["received"] == s["matched"] + s["unmatched"] + s["undecoded"] + s["refused"] + s["shed"],
              f"the account of {s['source']} does not close: {s}")


def check_view(isod, client):
    """Whatever became of Redis: it shows what isod knows."""
    def shown():
        status = isod.ask("status")[0]
        if not status["view_connected"] or int(status["view_dirty"]):
            return False
        told = {name: str(s["received"]) for name, s in isod.sources().items() if name.startswith(client.listener + "/")}
        return told and all(isod.redis("HGET", f"iso:source:test:{name}", "received").strip() == n for name, n in told.items())
    isod.wait(shown, "the view shows the account")


def unbroken(victim, ordered):
    """The books of an isod that has nothing but the evidence of another, and peace."""
    with Victim(SETTINGS, start=False) as isod:
        configure(isod, ordered, redis="off")
        os.mkdir(isod.path("state"))
        shutil.copytree(victim.path("state", "evidence"), isod.path("state", "evidence"))
        isod.start()
        isod.wait(isod.settled, "all evidence is detected again")
        incidents = isod.ask("status")[0]["incidents_total"]
        isod.stop()
        return replayed(isod)["books"], incidents


def check_books(isod, ordered):
    live = isod.ask("ledger", "digest")[0]
    status = isod.ask("status")[0]
    isod.stop()
    report = json.loads(run(os.path.join(BUILD, "isoctl"), "--json", "ledger", "verify", isod.path("state")))
    check(report["sound"], f"the ledger is sound: {report}")
    then, again = replayed(isod, "--until", str(live["sequence"])), replayed(isod)
    print(f"  ledger: sound, {report['records']} records in {report['segments']} segments, {report['compressed']} of them compressed")
    print(f"  {status['matches']} matches, {status['incidents_total']} incidents; books {live['books']}")
    # At the end isod writes some records more, of itself: the books are as they were, the whole state is not.
    check(then["digest"] == live["digest"], f"folded anew: the digest {then['digest']}, told by the daemon: {live['digest']}")
    check(again["books"] == live["books"], f"folded anew: {again['books']}, told by the daemon: {live['books']}")
    books, incidents = unbroken(isod, ordered)
    check(books == live["books"], f"an unbroken run over the same evidence has the books {books} and {incidents} incidents")
    print("  folded anew and from an unbroken run over the same evidence: the same")


# ---- a run ----

def settle(isod, client):
    until = time.monotonic() + 1800
    while not client.done():
        client.check()
        check(time.monotonic() < until, f"the client does not come to its end: {client.progress()}")
        time.sleep(0.02)
    isod.wait(isod.settled, "everything is counted")


def torture(name, a):
    power, ordered = name.startswith("power-"), issubclass(CLIENTS[name], Relp)
    kills, events = (a.power_kills, a.power_events) if power else (a.kills, a.events)
    if power and available():
        print(f"{name}: skipped: {available()}")
        return
    dice, began = random.Random(a.seed), time.monotonic()
    print(f"{name}: {events} events, {kills} kills, seed {a.seed}", flush=True)
    machine, disk = Machine() if power else None, None
    isod = Victim(SETTINGS, start=False)
    client = None
    try:
        port = configure(isod, ordered)[CLIENTS[name].listener]
        if power:
            disk = Disk(isod.path("state"))
            isod.env.update(machine.env)
            isod.env.update(disk.env)
        isod.start()
        client = CLIENTS[name](isod, Events(events, apart=not ordered), port)
        e = Executioner(isod, client, dice, kills, 0 if power else a.redis_kills, after_kill=disk.cut if disk else None,
                        before_start=None if ordered else lambda: set_workers(isod, dice.randint(1, WORKERS_MAX)))
        e.run()
        settle(isod, client)
        print(f"  killed {e.killed} times ({', '.join(f'{n} {k}' for k, n in e.kinds.most_common())}), "
              f"stopped {e.terminated} times, Redis killed {e.redis_killed} times")
        found = count(isod, client)
        CHECKS[client.listener](found, client, e.killed)
        check_account(isod, client, found)
        check_view(isod, client)
        client.close()
        check_books(isod, ordered)
        print(f"{name}: good, {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    except BaseException:
        print(f"{name}: seed {a.seed}; isod said last:\n" + "".join(isod.log().splitlines(True)[-40:]))
        raise
    finally:
        if client:
            client.close()
        if isod.process:
            isod.kill()
        if disk:
            disk.close()
        if a.keep:
            print(f"  kept: {isod.dir}")
        else:
            shutil.rmtree(isod.dir, ignore_errors=True)


def main():
    a = arguments()
    try:
        for name in a.only or CLIENTS:
            torture(name, a)
    except Failure as failure:
        print(f"FAILED: {failure}")
        sys.exit(1)


main()
