"""isoctl rules, as an operator without a daemon uses it: check tells everything that is wrong with its place and exits
with 1; match prints one object for each rule that holds for a line, from a file and from standard input, with the
shipped log-source table; a broken rule is told and left out, the others work. The shipped rules are good. Where the
corpus is at hand, every rule of SigmaHQ loads and its authors' own regression events are found."""
import json
import os
import subprocess
import tempfile

from harness import BUILD, SHARED, TOP, check, corpus, main

ISOCTL = os.path.join(BUILD, "isoctl")

GOOD = """title: Encoded PowerShell
id: 10000000-0000-4000-8000-000000000001
level: high
logsource: {product: windows, category: process_creation}
detection:
  selection:
    Image|endswith: '\\powershell.exe'
    CommandLine|contains|windash: ' -enc '
  filter:
    User: SYSTEM
  condition: selection and not filter
---
title: Failed Logon
id: 10000000-0000-4000-8000-000000000002
name: failed
logsource: {product: linux, service: sshd}
detection:
  keywords: [Failed password]
  condition: keywords
---
title: Many Failed Logons
correlation: {type: event_count, rules: failed, group-by: [src_ip], timespan: 5m, condition: {gte: 5}}
"""
BAD = """title: Bad
logsource: {product: linux}
detection:
  selection: {a|contians: x}
  condition: selection and not filtr
"""
EVENTS = [
    json.dumps({"Event": {"System": {"Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}}, "EventID": 1,
                                     "Channel": "Microsoft-Windows-Sysmon/Operational"},
                          "EventData": {"Image": "C:\\Windows\\PowerShell.exe", "CommandLine": "x /ENC abc",
                                        "User": "joe"}}}),
    "",
    "<38>Nov 23 18:00:00 web1 sshd[12]: Failed password for root from 203.0.113.9 port 4022 ssh2",
    "<38>Nov 23 18:00:00 web1 cron[12]: (root) CMD (true)",
]


def isoctl(*arguments, text=None):
    done = subprocess.run([ISOCTL, *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return done.returncode, done.stdout, done.stderr


def checks(good, bad):
    status, out, _ = isoctl("rules", "check", good)
    check(status == 0 and out.startswith("2 rules, 1 correlations, 0 filters in 1 files: 0 errors"), "good: " + out)
    status, out, _ = isoctl("rules", "check", good, bad)
    lines = out.splitlines()
    check(status == 1 and len(lines) == 3, "bad: " + out)
    check(lines[0].startswith(bad + ":4:17: error:") and "`contains`" in lines[0], lines[0])
    check(lines[1].startswith(bad + ":5:32: error:") and "`filtr`" in lines[1], lines[1])
    status, out, _ = isoctl("rules", "check", bad, "--json")
    objects = [json.loads(line) for line in out.splitlines()]
    check(status == 1 and [o.get("line") for o in objects] == [4, 5, None] and objects[2]["errors"] == 2, out)
    status, out, _ = isoctl("rules", "check", os.path.join(TOP, "conf", "rules"))
    check(status == 0 and " 0 errors, 0 warnings" in out, "the shipped rules: " + out)
    status, out, _ = isoctl("rules", "check", "/nonexistent")
    check(status == 1 and "/nonexistent: error: No such file" in out, out)
    check(isoctl("rules", "check")[0] == 2 and isoctl("rules", "chekc", "x")[0] == 2, "usage")


def matches(good, bad, events):
    expected = [(1, "10000000-0000-4000-8000-000000000001", "Encoded PowerShell", "high"),
                (3, "10000000-0000-4000-8000-000000000002", "Failed Logon", "medium")]
    for arguments, text in [(["--events", events], None), (["--events", "-"], "\n".join(EVENTS)),
                            (["--events", "-"], "\r\n".join(EVENTS) + "\r\n")]:
        status, out, said = isoctl("--json", "rules", "match", "--rules", good, *arguments, text=text)
        found = [json.loads(line) for line in out.splitlines()]
        check(status == 0 and not said, said)
        check([(m["event"], m["rule"], m["title"], m["level"]) for m in found] == expected, out)
    with tempfile.TemporaryDirectory() as cache:
        plain = isoctl("--json", "rules", "match", "--rules", good, "--events", events, "--naive")
        for _ in range(2):
            compiled = isoctl("--json", "rules", "match", "--rules", good, "--events", events, "--cache", cache)
            check(compiled == plain and plain[0] == 0 and len(os.listdir(cache)) == 1, str(compiled))
    status, out, said = isoctl("rules", "match", "--rules", bad, good, "--events", events)
    check(status == 1 and "contains" in said and "2 matches of 2 rules in 4 lines" in out, out + said)
    status, out, said = isoctl("rules", "match", "--rules", good, "--events", "/nonexistent")
    check(status == 1 and "No such file" in said, said)
    check(isoctl("rules", "match", "--rules", good)[0] == 2, "no --events: usage")


def sigmahq():
    rules = corpus("sigma")
    if not rules:
        print("the corpus is not here: SigmaHQ's rules were not tried")
        return
    status, out, _ = isoctl("rules", "check", rules)
    check(status == 0 and "3754 rules" in out and " 0 errors" in out, out[-2000:])
    done = subprocess.run([os.path.join(SHARED, "accept", "sigma-regression"), ISOCTL], stdout=subprocess.PIPE, text=True)
    check(done.returncode == 0, done.stdout)


def scenario():
    with tempfile.TemporaryDirectory(prefix="isod-test-") as folder:
        good, bad, events = (os.path.join(folder, name) for name in ("good.yml", "bad.yml", "events"))
        for path, text in ((good, GOOD), (bad, BAD), (events, "\n".join(EVENTS))):
            with open(path, "w") as f:
                f.write(text)
        checks(good, bad)
        matches(good, bad, events)
    sigmahq()


main(scenario)
