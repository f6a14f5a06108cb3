#!/usr/bin/python3
"""How fast isod matches rules, beside simdjson alone and, where it is installed, rsigma: `make bench-detect`.

EVENTS=file.ndjson[.gz] and RULES="folder …" say on what; without them the corpus in $ISOD_SHARED (../shared). Everything
runs on one thread; time is processor time, and of several rounds the best one counts."""
import collections
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile

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
    command = [os.path.join(BUILD, "bench", "bench_detect"), events, folder, os.path.join(folder, "cache"), *rules]
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


# ---- rsigma ----

# Log sources are no fields of the events: rsigma is told the product of all of them, or each one's category and service
# as the most exact routing there can be.
ROUTINGS = {
    "rsigma engine eval": ("events", []),
    "  --logsource-routing, the product told": ("events", ["--logsource-routing", "--event-logsource",
                                                          "product=windows"]),
    "  --logsource-routing, all told": ("told", ["--logsource-routing", "--logsource-field-map",
                                                 "product=~product,category=~category,service=~service"]),
}
RSIGMA_RUNS = 3
LINE = "~line"


def rsigma(rules, events, *options, out=subprocess.DEVNULL):
    return subprocess.Popen([RSIGMA, "engine", "eval", "-r", rules, "-e", "@" + events, "--output-format", "ndjson",
                             "--no-stats", *options], stdout=out, stderr=subprocess.DEVNULL, text=True)


def processor_time(rules, events, options):
    _, status, use = os.wait4(rsigma(rules, events, *options).pid, 0)
    if status:
        sys.exit("bench-detect: rsigma fails")
    return use.ru_utime + use.ru_stime


def rsigma_rate(rules, path, options, folder):
    """Events a second of processor time, without what it takes to load the rules: that is a run on one event."""
    one = os.path.join(folder, "one")
    with open(path) as source, open(one, "w") as target:
        target.write(source.readline())
        count = 1 + sum(1 for _ in source)
    load = min(processor_time(rules, one, options) for _ in range(RSIGMA_RUNS))
    return (count - 1) / (min(processor_time(rules, path, options) for _ in range(RSIGMA_RUNS)) - load)


def lists(pairs):
    """A field that repeats is a list to rsigma."""
    event = {}
    for name, value in pairs:
        event.setdefault(name, []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in event.items()}


def tell_lines(source, target):
    """Numbers the events as isod's rules see them: with the names that conf/logsources.yaml gives their fields."""
    with open(source) as events, open(target, "w") as out:
        for number, line in enumerate(events, 1):
            event = json.loads(line, object_pairs_hook=lists)
            event[LINE] = f"l{number}l"
            out.write(json.dumps(event) + "\n")


def table(folder, name):
    with open(os.path.join(folder, name)) as lines:
        return [line.rstrip("\n").split("\t") for line in lines]


def told(events, folder):
    """The events, each with its log source in fields of its own."""
    path = os.path.join(folder, "told")
    with open(events) as source, open(path, "w") as target:
        for line, kind in zip(source, table(folder, "kinds")):
            event = json.loads(line)
            event.update({name: value for name, value in zip(("~product", "~category", "~service"), kind[1:]) if value})
            target.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
    return path


def compare(rules, folder):
    """Both on the same events; what a rule's log source does not let in counts on neither side, and apart."""
    numbered = os.path.join(folder, "numbered")
    tell_lines(os.path.join(folder, "events"), numbered)
    theirs = set()
    run = rsigma(rules, numbered, "--include-event", out=subprocess.PIPE)
    for line in run.stdout:
        match = json.loads(line)
        theirs.add((int(match["event"][LINE][1:-1]), match["rule_id"]))
    if run.wait():
        sys.exit("bench-detect: rsigma fails")
    let_in = {tuple(row) for row in table(folder, "tried")}
    kinds = [row[0] for row in table(folder, "kinds")]
    ours = {(int(line), rule): fits == "1" for line, rule, fits in table(folder, "matches")}
    fitting = {pair for pair in theirs if (kinds[pair[0] - 1], pair[1]) in let_in}
    for what, a, b in (("whose log source fits", {pair for pair in ours if ours[pair]}, fitting),
                       ("of all rules on all events", set(ours), theirs)):
        print(f"matches {what}: {len(a & b)} of both, {len(a - b)} of isod alone, {len(b - a)} of rsigma alone")
        for who, pairs in (("isod", a - b), ("rsigma", b - a)):
            for rule, count in collections.Counter(rule for _, rule in pairs).most_common(10):
                first = min(line for line, name in pairs if name == rule)
                print(f"    {who} alone: rule {rule}, {count} events, the first on line {first}")


def tell_rsigma(facts, events, rules, folder):
    links = os.path.join(folder, "rules")
    os.mkdir(links)
    for path in rules:
        os.symlink(os.path.abspath(path), os.path.join(links, os.path.basename(os.path.normpath(path))))
    inputs_of = {"events": events, "told": told(events, folder)}
    whole = facts[("stage", "match")][1]
    print(f"\n{subprocess.check_output([RSIGMA, '--version'], text=True).splitlines()[0]:50} {'':9} {'events/s':>10}  isod is")
    for what, (source, options) in ROUTINGS.items():
        rate = rsigma_rate(links, inputs_of[source], options, folder)
        print(f"{what:50} {'':9} {rate:10.0f}  {whole / rate:6.1f} times as fast")
    compare(links, folder)


def main():
    events, rules = inputs()
    with tempfile.TemporaryDirectory() as folder:
        if events.endswith(".gz"):
            plain = os.path.join(folder, "frames")
            with gzip.open(events) as source, open(plain, "wb") as target:
                shutil.copyfileobj(source, target)
            events = plain
        facts = run_isod(events, rules, folder)
        tell_isod(facts)
        if RSIGMA:
            tell_rsigma(facts, events, rules, folder)
        else:
            print("\nrsigma is not installed: nothing to compare with (cargo install rsigma)")


main()
