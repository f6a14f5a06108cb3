"""What hostile or mistaken rules and events cost: each is made here and given to isoctl within 1 GiB of address space.
A rule that cannot be is an error with file, line and column, and the rules beside it work; what is only large is either
refused with its limit or done within it; a regular expression that explodes and an event past a limit are counted."""
import json
import os
import resource
import subprocess
import tempfile

from harness import BUILD, check, main

ISOCTL = os.path.join(BUILD, "isoctl")
MEMORY = 1 << 30
SECONDS = 300  # a hang is a failure; how fast it is, is not what this is about
SANITIZED = "san-" in BUILD  # sanitizers map terabytes and hold what is freed: no limit on memory then


def limit():
    if not SANITIZED:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def isoctl(*arguments):
    done = subprocess.run([ISOCTL, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, timeout=SECONDS, preexec_fn=limit)
    check(done.returncode in (0, 1), f"isoctl {' '.join(arguments)[:200]}: {done.returncode} {done.stderr[-2000:]}")
    return done.returncode, done.stdout, done.stderr


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


HEAD = "title: {}\nlogsource: {{product: test}}\ndetection:\n"
GOOD = HEAD.format("Good") + "  a: {last: needle}\n  condition: a\n"


def rule(detection, title="Bad"):
    return HEAD.format(title) + detection


def laughs():
    """Ten times ten times ten … of what the first names."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 10) + "]" for i in range(1, 9)]
    return "\n".join(lines) + "\n" + rule("  a: {x: *a8}\n  condition: a\n")


CORRELATION = "correlation: {type: event_count, rules: %s, timespan: 1m, condition: {gte: 3}}\n"
SELF = "10000000-0000-4000-8000-000000000001"

REFUSED = {  # name: (text, [(line and column, part of the error)])
    "tabs": (rule("\ta: {x: 1}\n\tcondition: a\n"), [("4:1", "tab")]),
    "ten_megabytes_of_values": (rule("  a:\n    x:\n" + "".join(f"      - value-{i:07}\n" for i in range(500000)) +
                                     "  condition: a\n"), [("", "larger than 4 MiB")]),
    "one_value_of_ten_megabytes": (rule("  a: {x: '" + "y" * 10_000_000 + "'}\n  condition: a\n"), [("", "larger than 4 MiB")]),
    "one_value_of_a_megabyte": (rule("  a: {x: '" + "y" * 1_000_000 + "'}\n  condition: a\n"), [("4:10", "65536 bytes")]),
    "alias_inside_itself": (rule("  a: &a\n    - x: 1\n    - *a\n  condition: a\n"), [("6:7", "inside of what it names")]),
    "alias_of_aliases": (laughs(), [("6:45", "more than 1000000 nodes")]),
    "nested_lists": (rule("  a: " + "[" * 5000 + "]" * 5000 + "\n  condition: a\n"), [("4:", "")]),
    "nested_brackets": (rule("  a: {x: 1}\n  condition: " + "(" * 5000 + "a" + ")" * 5000 + "\n"), [("5:", "deeper than")]),
    "long_condition": (rule("  a: {x: 1}\n  condition: a" + " or a" * 100000 + "\n"), [("5:14", "longer than")]),
    "many_selections": (rule("".join(f"  s{i}: {{x: {i}}}\n" for i in range(20000)) + "  condition: 1 of s*\n"),
                        [("4:", "more than 1000 selections")]),
    "regex_too_deep": (rule("  a: {x|re: '" + "(" * 5000 + "a" + ")" * 5000 + "'}\n  condition: a\n"), [("4:13", "nested")]),
    "regex_too_large": (rule("  a: {x|re: '((((a{1,1000}){1,1000}){1,1000}){1,1000}){1,1000}'}\n  condition: a\n"),
                        [("4:13", "not a regular expression")]),
    "correlation_of_itself": ("title: A\nid: " + SELF + "\n" + CORRELATION % SELF, [("3:41", "itself")]),
    "correlation_of_nothing": ("title: A\n" + CORRELATION % "gone", [("2:41", "no rule with the id or name `gone`")]),
    "correlations_in_a_circle": ("title: A\nname: a\n" + CORRELATION % "b" + "---\ntitle: B\nname: b\n" + CORRELATION % "a",
                                 [("7:41", "circle")]),
}


def refused(folder):
    good = os.path.join(folder, "good.yml")
    for name, (text, errors) in REFUSED.items():
        path = os.path.join(folder, name + ".yml")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        status, out, _ = isoctl("rules", "check", good, path)
        lines = out.splitlines()
        for place, part in errors:
            head = f"{path}:{place}" if place else f"{path}: error: "
            check(any(l.startswith(head) and part in l and ": error: " in l for l in lines), f"{name}: {out[:2000]}")
        check(status == 1 and lines[-1].startswith("1 rules, 0 correlations"), f"{name}: {lines[-1]}")
        check(len(out) < 20000, f"{name}: {len(out)} bytes of errors")
        os.unlink(path)


def write_events(path):
    deep = "needle"
    for _ in range(200):
        deep = {"n": deep}
    events = [
        {"x": "a" * 5000 + "b", "last": "needle"},                             # the regular expression explodes
        {"first": "1", **{f"f{i}": i for i in range(10000)}, "last": "needle"},  # more fields than are taken
        {"first": "y" * 1_000_000 + "needle", "last": "needle"},
        {"first": "4", "deep": deep, "last": "needle"},
        {"last": "needle"},
    ]
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(json.dumps(e) for e in events) + "\n")


WIDE = """title: Explodes
logsource: {product: test}
detection: {a: {x|re: '(a+)+$'}, condition: a}
---
title: First
logsource: {product: test}
detection: {a: {first|contains: [needle, '1', '4']}, condition: a}
---
title: Keyword
logsource: {product: test}
detection: {a: [needle], condition: a}
"""


def large_events(folder):
    events, rules = os.path.join(folder, "events"), os.path.join(folder, "wide.yml")
    write_events(events)
    with open(rules, "w", encoding="utf-8") as f:
        f.write(WIDE)
    arguments = ("--rules", rules, os.path.join(folder, "good.yml"), "--events", events)
    expected = [(1, "Good"), (1, "Keyword"), (2, "First"), (2, "Keyword"), (3, "First"), (3, "Good"), (3, "Keyword"),
                (4, "First"), (4, "Good"), (4, "Keyword"), (5, "Good"), (5, "Keyword")]
    for more in ((), ("--naive",)):
        status, out, said = isoctl("--json", "rules", "match", *arguments, *more)
        found = sorted((m["event"], m["title"]) for m in objects(out))
        check(status == 0 and found == expected, str(found))
        check("2 events had more than 4096 fields, or more than 32 levels" in said, said)
    check("1 tests were cut short by a bound" in said, said)
    for line in range(1, 6):
        status, out, said = isoctl("--json", "rules", "explain", "Keyword", "--rules", rules, "--event", events, "--line",
                                   str(line))
        check(status == 0 and objects(out)[0]["condition"]["holds"] and len(out) < 50000, f"{line}: {said}")


def many_rules(folder):
    rules, events = os.path.join(folder, "many"), os.path.join(folder, "few")
    os.mkdir(rules)
    for n in range(40):
        with open(os.path.join(rules, f"{n:02}.yml"), "w", encoding="utf-8") as f:
            for k in range(n * 2500, (n + 1) * 2500):
                f.write(f"---\ntitle: Rule {k}\nlogsource: {{product: test}}\ndetection:\n  a: {{x|contains: 'word-{k:06}-', "
                        f"y: '{k}'}}\n  f: {{z|endswith: '.exe'}}\n  condition: a and not f\n")
    with open(events, "w", encoding="utf-8") as f:
        f.write("".join(json.dumps({"x": f"a word-{k:06}- b", "y": str(k)}) + "\n" for k in (0, 50000, 99999)))
    status, out, _ = isoctl("rules", "check", rules)
    check(status == 0 and out.startswith("100000 rules, ") and " 0 errors, 0 warnings" in out, out[-500:])
    status, out, _ = isoctl("rules", "check", "--strict", rules)
    check(status == 0 and " 0 errors, 900000 warnings" in out and "… and 890000 more" in out, out[-500:])
    for more in ((), ("--naive",)):
        status, out, said = isoctl("--json", "rules", "match", "--rules", rules, "--events", events, *more)
        check(status == 0 and [m["title"] for m in objects(out)] == ["Rule 0", "Rule 50000", "Rule 99999"], out[:2000] + said)


def large_rule(folder):
    """Just within the limits: 190,000 values."""
    path, events = os.path.join(folder, "large.yml"), os.path.join(folder, "one")
    with open(path, "w", encoding="utf-8") as f:
        f.write(rule("  a:\n    x|contains:\n" + "".join(f"      - v{i:07}\n" for i in range(190000)) + "  condition: a\n", "L"))
    with open(events, "w", encoding="utf-8") as f:
        f.write(json.dumps({"x": "a v0189999 b"}) + "\n" + json.dumps({"x": "a v0190000 b"}) + "\n")
    status, out, said = isoctl("--json", "rules", "match", "--rules", path, "--events", events)
    check(status == 0 and [m["event"] for m in objects(out)] == [1], out + said)
    status, out, _ = isoctl("--json", "rules", "explain", "L", "--rules", path, "--event", events, "--line", "2")
    check(status == 0 and objects(out)[0]["condition"]["parts"][0]["item"]["count"] == 190000 and len(out) < 5000, out[:2000])


def scenario():
    with tempfile.TemporaryDirectory(prefix="isod-test-") as folder:
        with open(os.path.join(folder, "good.yml"), "w", encoding="utf-8") as f:
            f.write(GOOD)
        refused(folder)
        large_events(folder)
        large_rule(folder)
        many_rules(folder)


main(scenario)
