#!/usr/bin/python3
"""How fast isod matches rules, beside simdjson alone and, where it is installed, rsigma: `make bench-detect`.

EVENTS=file.ndjson[.gz] and RULES="folder …" say on what; without them the corpus in $ISOD_SHARED (../shared). Everything
runs on one thread. isod's figures are processor time; of several rounds the best one counts."""
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.environ.get("ISOD_SHARED") or os.path.join(TOP, "..", "shared")
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
RSIGMA = shutil.which("rsigma") or shutil.which("rsigma", path=os.path.expanduser("~/.cargo/bin"))

STAGES = {"parse": "simdjson alone: parse, walk to every value", "decode": "isod: decode", "classify": "  + log sources",
          "scan": "  + search for what guards rules", "match": "  + evaluate what was found: the whole matcher",
          "naive": "the plain matcher"}


def inputs():
    events, rules = os.environ.get("EVENTS"), os.environ.get("RULES", "").split()
    if not events:
        events = os.path.join(SHARED, "corpus", "events", "windows-20k.ndjson.gz")
    if not rules:
        folder = os.path.join(SHARED, "corpus", "sigma")
        rules = [os.path.join(folder, name) for name in ("rules", "rules-emerging-threats", "rules-threat-hunting")]
    for path in [events, *rules]:
        if not os.path.exists(path):
            sys.exit(f"bench-detect: {path} is not there: say EVENTS=file.ndjson RULES=folder")
    return events, rules


def run_isod(events, rules, folder):
    command = [os.path.join(BUILD, "bench", "bench_detect"), events, os.path.join(folder, "matches"),
               os.path.join(folder, "cache"), *rules]
    facts, cold = {}, {}
    for result in (cold, facts):
        environment = dict(os.environ, ROUNDS="0") if result is cold else os.environ
        done = subprocess.run(command, cwd=TOP, stdout=subprocess.PIPE, text=True, env=environment)
        for line in done.stdout.splitlines():
            kind, name, *values = line.split("\t")
            result[(kind, name)] = [float(v) for v in values]
        if done.returncode:
            print("bench-detect: the two matchers differ, or something cannot be read", file=sys.stderr)
            sys.exit(1)
    facts[("fact", "cold compile ms")] = cold[("fact", "compile ms")]
    return facts


def tell_isod(facts):
    def fact(name):
        return facts[("fact", name)][0]
    print(f"{fact('events'):.0f} events, {fact('bytes') / fact('events'):.0f} bytes each; {fact('rules'):.0f} rules "
          f"({fact('always'):.0f} without a guard), {fact('guards'):.0f} predicates in guards, {fact('patterns'):.0f} of "
          f"them for Hyperscan ({fact('database bytes') / 1e6:.1f} MB, {fact('refused'):.0f} refused)")
    print(f"rules loaded in {fact('load ms'):.0f} ms, compiled in {fact('cold compile ms'):.0f} ms, from the cache in "
          f"{fact('compile ms'):.0f} ms; resident {fact('resident with the rules KiB') / 1024:.0f} MiB\n")
    limit = facts[("stage", "parse")][1]
    print(f"{'':50} {'ns/event':>9} {'events/s':>10}  of the limit")
    for name, what in STAGES.items():
        ns, rate = facts[("stage", name)]
        print(f"{what:50} {ns:9.0f} {rate:10.0f}  {100 * rate / limit:6.1f} %")
    print(f"\n{fact('matches'):.0f} matches; events on which the two matchers differ: {fact('events that differ'):.0f}; "
          f"rules evaluated an event: {fact('rules tried an event'):.2f}, by the plain one "
          f"{fact('rules tried an event, naive'):.1f}")


def main():
    events, rules = inputs()
    with tempfile.TemporaryDirectory() as folder:
        if events.endswith(".gz"):
            plain = os.path.join(folder, "events.ndjson")
            with gzip.open(events) as source, open(plain, "wb") as target:
                shutil.copyfileobj(source, target)
            events = plain
        facts = run_isod(events, rules, folder)
        tell_isod(facts)


main()
