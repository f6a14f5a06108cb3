"""isoctl rules for the people who write rules, without a daemon, on small data of its own with results worked out by
hand: check finds what makes no sense, and conventions when asked; explain says which selection held, which value, and why not; test runs the tests beside rules and those of
correlations, and writes JUnit's XML; coverage counts techniques by tactic, knows which log sources report, and writes a
layer; backtest runs rules over the evidence of an isod that is running, and past a damaged place of it."""
import json
import os
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree

from harness import BUILD, TOP, Isod, check, main

ISOCTL = os.path.join(BUILD, "isoctl")


def isoctl(*arguments, text=None, env=None):
    done = subprocess.run([ISOCTL, *arguments], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def write(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return path


ENCODED = """title: Encoded PowerShell
id: 10000000-0000-4000-8000-000000000001
name: encoded
level: high
tags: [attack.execution, attack.t1059.001]
logsource: {product: windows, category: process_creation}
detection:
  selection:
    Image|endswith: ['\\powershell.exe', '\\pwsh.exe']
    CommandLine|contains|windash: ' -enc '
  filter:
    User: SYSTEM
  filter_other:
    ParentImage: 'C:\\agent.exe'
  condition: selection and not 1 of filter*
"""
FAILED = """title: Failed Logon
id: 10000000-0000-4000-8000-000000000002
name: failed
level: low
tags: [attack.credential-access, attack.t1110]
logsource: {product: linux, service: sshd}
detection:
  keywords: [Failed password, Invalid user]
  condition: keywords
---
title: Many Failed Logons
id: 10000000-0000-4000-8000-000000000003
level: high
tags: [attack.credential-access, attack.t1110.001]
correlation: {type: event_count, rules: failed, group-by: [src_ip], timespan: 1m, condition: {gte: 3}}
"""


def process(**fields):
    return json.dumps({"Event": {"System": {"Provider": {"#attributes": {"Name": "Microsoft-Windows-Sysmon"}},
                                            "EventID": 1, "Channel": "Microsoft-Windows-Sysmon/Operational"},
                                 "EventData": fields}})


def ssh(second, what="Failed password for root", address="203.0.113.9"):
    return f"<38>Nov 23 18:00:{second:02} web1 sshd[12]: {what} from {address} port 4022 ssh2"


EVENTS = [process(Image="C:\\Windows\\PowerShell.exe", CommandLine="x /ENC abc", User="joe"),
          process(Image="C:\\Windows\\pwsh.exe", CommandLine="x -enc abc", User="system"),
          ssh(1),
          json.dumps({"image": "C:\\pwsh.exe", "CommandLine": "\u001b[31m -enc "})]


# --- check ---

SENSELESS = """title: dead filter
logsource: {product: windows, category: process_creation}
date: 2026-13-01
detection:
  selection:
    Image|endswith: '\\cmd.exe'
  filter_a:
    Image|endswith: '\\powershell.exe'
  unused:
    Image: x
  condition: selection and not 1 of filter_*
---
title: Never
logsource: {product: martian}
detection:
  a: {EventID: 1}
  b: {EventID: 2}
  condition: a and b
---
title: Again
logsource: {product: martian}
detection:
  y: {EventID: 2}
  x: {EventID: 1}
  condition: x and y
"""


def checks(folder):
    path = write(folder, "check/senseless.yml", SENSELESS)
    expected = [("3:7", "`date` is a date"), ("7:3", "`filter_a` excludes nothing"), ("9:3", "no condition uses"),
                ("18:14", "can never hold"), ("23:3", "the detection of `Never`"), ("25:14", "can never hold")]

    def run(*arguments):
        status, out, _ = isoctl("rules", "check", *arguments, path)
        return status, out, [tuple(line[len(path) + 1:].split(": warning: ", 1)) for line in out.splitlines()[:-1]]

    status, out, found = run()
    check(status == 0 and len(found) == len(expected), out)
    check(all(place == where and text in what for (place, text), (where, what) in zip(expected, found)), out)
    check(out.splitlines()[-1].endswith("0 errors, 6 warnings"), out)
    check(run("--deny-warnings")[0] == 1, "warnings that are denied")
    status, out, found = run("--strict")
    check(status == 0 and len(found) > 20 and any("1:8" == w and "title case: `dead`" in t for w, t in found), out)
    check(any("1:1" == w and "no `level`" in t for w, t in found), out)
    _, out, found = run("--logsources", os.path.join(TOP, "conf", "logsources.yaml"))
    check([w for w, t in found if "log-source table" in t] == ["14:12", "21:12"], out)
    status, out, _ = isoctl("--json", "rules", "check", path)
    check([o.get("severity") for o in objects(out)] == ["warning"] * 6 + [None], out)


# --- explain ---

def part(tree, name):
    """The selection of that name, anywhere in the tree."""
    if tree["name"] == name:
        return tree
    for child in tree["parts"]:
        found = part(child, name)
        if found:
            return found
    return None


def explain(rules, events, line, rule="10000000-0000-4000-8000-000000000001"):
    status, out, said = isoctl("--json", "rules", "explain", rule, "--rules", rules, "--event", events, "--line", str(line))
    check(status == 0 and not said, said)
    return json.loads(out)


def explains(folder):
    rules = write(folder, "explain/rules/encoded.yml", ENCODED)
    write(folder, "explain/rules/failed.yml", FAILED)
    folder_of_rules = os.path.dirname(rules)
    events = write(folder, "explain/events", "\n".join(EVENTS) + "\n\n")
    x = explain(rules, events, 1)
    check(x["matches"] and x["log_source"]["fits"] and x["file"] == rules and x["line"] == 1, str(x))
    check({"product": "windows", "category": "process_creation", "service": "sysmon"} in x["log_source"]["event"], str(x))
    image, command = (p["item"] for p in part(x["condition"], "selection")["parts"][0]["parts"])
    check(image["key"] == "Image|endswith" and (image["line"], image["column"]) == (9, 5), str(image))
    check(image["held"] == 1 and image["count"] == 2 and image["values"] ==
          [{"written": "\\powershell.exe", "holds": True, "field": "Image", "value": "C:\\Windows\\PowerShell.exe"}], str(image))
    check(command["values"][0]["value"] == "x /ENC abc" and command["values"][0]["written"] == " -enc ", str(command))
    check(not part(x["condition"], "filter")["holds"], str(x))
    missing = part(x["condition"], "filter_other")["parts"][0]["item"]
    check(not missing["present"] and missing["event_values"] == [] and not missing["similar_field"], str(missing))

    x = explain(rules, events, 2)
    check(not x["matches"] and x["log_source"]["fits"] and part(x["condition"], "selection")["holds"], str(x))
    item = part(x["condition"], "filter")
    check(item["holds"] and item["parts"][0]["item"]["event_values"] == ["system"], str(item))

    x = explain(rules, events, 3)
    check(not x["matches"] and not x["log_source"]["fits"] and not x["log_source"]["unknown"], str(x))
    x = explain(folder_of_rules, events, 3, "failed")
    value = part(x["condition"], "keywords")["parts"][0]["item"]["values"]
    check(x["matches"] and len(value) == 1 and value[0]["written"] == "Failed password", str(x))
    check("Failed password" in value[0]["value"], str(value))

    x = explain(rules, events, 4, "encoded powershell")
    item = part(x["condition"], "selection")["parts"][0]["parts"][0]["item"]
    check(not x["matches"] and item["similar_field"] == "image" and not item["present"], str(item))

    text = isoctl("rules", "explain", "encoded", "--rules", rules, "--event", events, "--line", "4")[1]
    check(all(len(line) <= 80 for line in text.splitlines()) and "\033" not in text, text)
    check("no field Image, but image" in text and text.startswith("no   Encoded PowerShell\n"), text)
    check(["yes", "CommandLine|contains|windash:", "'", "-enc", "'"] in [line.split() for line in text.splitlines()], text)

    for line in ("5", "6"):
        status, _, said = isoctl("rules", "explain", "encoded", "--rules", rules, "--event", events, "--line", line)
        check(status == 1 and f"line {line} is " in said, said)
    status, _, said = isoctl("rules", "explain", "nothing", "--rules", rules, "--event", events)
    check(status == 1 and "none of the 1 rules" in said, said)
    status, _, said = isoctl("rules", "explain", "Many Failed Logons", "--rules", folder_of_rules, "--event", events)
    check(status == 1 and "is a correlation" in said and "10000000-0000-4000-8000-000000000002" in said, said)
    check(isoctl("rules", "explain", "encoded", "--rules", rules)[0] == 2, "no --event: usage")


# --- test ---

TESTS = """match:
  - Event: {System: {Provider: {"#attributes": {Name: Microsoft-Windows-Sysmon}}, EventID: 1,
                     Channel: Microsoft-Windows-Sysmon/Operational},
            EventData: {Image: 'C:\\pwsh.exe', CommandLine: 'x -enc abc'}}
match_files: more.ndjson
miss:
  - 'some <text>'
"""
SEQUENCES = f"""rule: failed
match: ['{ssh(1)}']
---
sequences:
  - {{correlation: Many Failed Logons, fires: 1, repeat: {{count: 3, from: 10}},
     lines: ['{ssh(1).replace(':01', ':%d')}']}}
  - {{correlation: Many Failed Logons, fires: 0, repeat: {{count: 2, from: 10}},
     lines: ['{ssh(1).replace(':01', ':%d')}']}}
  - {{correlation: 10000000-0000-4000-8000-000000000003, fires: 0, lines: [
     '{ssh(1)}', '{ssh(2)}', '{ssh(3).replace('18:00', '18:02')}', '{ssh(4, address='203.0.113.10')}']}}
"""


def tests(folder):
    rules = os.path.join(folder, "test", "rules")
    write(rules, "windows/encoded.yml", ENCODED)
    write(rules, "failed.yml", FAILED)
    status, _, said = isoctl("rules", "test", rules)
    check(status == 1 and "no tests" in said, said)

    write(rules, "windows/tests/encoded.yml", TESTS)
    write(rules, "windows/tests/more.ndjson", "\n".join([EVENTS[0], "", EVENTS[0]]))
    write(rules, "tests/failed.yml", SEQUENCES)
    status, out, said = isoctl("rules", "test", rules)
    check(status == 0 and not said, out + said)
    check("pass  Encoded PowerShell  (4 of 4)\n" in out and "pass  Many Failed Logons  (3 of 3)\n" in out, out)
    check("3 rules: 3 passed, 0 failed, 0 without tests; 8 tests, 0 failed\n" in out, out)
    status, out, _ = isoctl("rules", "check", rules)
    check(status == 0 and out.startswith("2 rules, 1 correlations, 0 filters in 2 files"), "tests are no rules: " + out)

    elsewhere = os.path.join(folder, "test", "elsewhere")
    path = write(elsewhere, "windows/encoded.yml", TESTS.replace("pwsh.exe", "cmd.exe").replace("more.ndjson", "good.ndjson")
                 .replace("some <text>", EVENTS[0].replace("joe", "j<o>")))
    write(elsewhere, "windows/good.ndjson", EVENTS[2])
    write(elsewhere, "failed.yml", SEQUENCES.replace("fires: 1", "fires: 2"))
    junit = os.path.join(folder, "junit.xml")
    status, out, said = isoctl("rules", "test", rules, "--tests", elsewhere, "--junit", junit)
    check(status == 1 and not said, said)
    check("FAIL  Encoded PowerShell  (0 of 3)\n" in out and f"{path}:2: match 1: must match, but the condition" in out, out)
    check(f"{path}:7: miss 1: must not match, but does" in out, out)
    check(f"{path}:5: good.ndjson line 1: must match, but the event is not of the rule's log source" in out, out)
    check("sequence 1: must fire 2 times, but fired 1 times" in out, out)
    root = xml.etree.ElementTree.parse(junit).getroot()
    suites = {s.get("name"): s for s in root}
    check(root.tag == "testsuites" and root.get("tests") == "7" and root.get("failures") == "4", str(root.attrib))
    check(suites["Encoded PowerShell"].get("failures") == "3" and suites["Failed Logon"].get("failures") == "0", str(suites))
    failure = suites["Encoded PowerShell"].find("testcase[@name='miss 1']/failure")
    check('"j<o>"' in failure.text and failure.get("message").startswith("must not match"), failure.text)
    found = objects(isoctl("--json", "rules", "test", rules, "--tests", elsewhere)[1])
    check([len(o["failures"]) for o in found[:-1]] == [0, 3, 1], str(found))
    check(found[-1] == {"rules": 3, "untested": 0, "failed_rules": 2, "tests": 7, "failed": 4}, str(found[-1]))

    path = write(elsewhere, "failed.yml", "mtach: [x]\n---\nsequences: [{correlation: Nothing, lines: [x]}]\n---\nrule: no\n"
                 "miss: [[x]]\n---\nmatch_files: gone\n---\nmatch: []\nreceived: soon\n")
    status, _, said = isoctl("rules", "test", rules, "--tests", elsewhere)
    for place, text in (("1:1", "did you mean `match`"), ("3:27", "`Nothing`"), ("5:7", "title `no`"), ("8:14", "No such file"),
                        ("11:11", "`received`")):
        check(any(line.startswith(f"{path}:{place}: error: ") and text in line for line in said.splitlines()),
              place + " " + said)
    check(status == 1, "a test that cannot run is a failure")

    status, out, said = isoctl("rules", "test", os.path.join(TOP, "conf", "rules"), "--tests",
                               os.path.join(TOP, "tests", "data", "rules"))
    check(status == 0 and " 0 failed, 0 without tests;" in out, out[-500:] + said)


# --- coverage ---

TAGGED = """title: Two Tactics
logsource: {product: linux, service: sudo}
tags: [attack.privilege-escalation, attack.t1548.003, attack.persistence, attack.t1098, attack.t1098, cve.2021-3156]
detection: {a: {command: x}, condition: a}
---
title: Odd
logsource: {product: martian}
tags: [attack.t1110]
detection: {a: {command: y}, condition: a}
---
title: Untagged
logsource: {product: linux}
detection: {a: {command: z}, condition: a}
"""


def coverage(folder):
    rules = os.path.join(folder, "coverage", "rules")
    write(rules, "encoded.yml", ENCODED)
    write(rules, "failed.yml", FAILED)
    write(rules, "tagged.yml", TAGGED)
    events = write(folder, "coverage/events", "\n".join([ssh(1), ssh(2), "", "nothing anybody knows"]))
    layer = os.path.join(folder, "layer.json")
    status, out, said = isoctl("--json", "rules", "coverage", "--rules", rules, "--events", events, "--layer", layer)
    check(status == 0 and not said, said)
    found = objects(out)
    expected = {  # technique: tactics, rules, of them with a log source that reports
        "T1059.001": (["execution"], 1, 0),
        "T1098": (["persistence"], 1, 0),
        "T1110": (["credential-access"], 2, 2),  # Odd is for sources that the table does not know, and there is an event of none
        "T1110.001": (["credential-access"], 1, 1),
        "T1548.003": (["privilege-escalation"], 1, 0),
    }
    check({o["technique"]: (o["tactics"], o["rules"], o["reporting"]) for o in found if "technique" in o} == expected, out)
    check(found[-1] == {"rules": 6, "untagged": 1, "techniques": 5, "techniques_reporting": 2, "tactics": 4, "events": 3,
                        "basis": "events"},
          str(found[-1]))
    seen = {(o["source"]["product"], o["source"]["service"]): o["events"] for o in found if "source" in o}
    check(seen[("linux", "sshd")] == 2 and seen[("", "")] == 1, str(seen))

    with open(layer, encoding="utf-8") as f:
        layer = json.load(f)
    check(layer["versions"] == {"navigator": "4.9.0", "layer": "4.5"} and layer["domain"] == "enterprise-attack", str(layer))
    check({t["techniqueID"]: t["score"] for t in layer["techniques"]} == {k: v[1] for k, v in expected.items()}, str(layer))
    check(layer["techniques"][2]["comment"] == "Failed Logon\nOdd" and layer["gradient"]["maxValue"] == 2, str(layer))

    status, out, said = isoctl("--socket", os.path.join(folder, "none"), "rules", "coverage", "--rules", rules)
    check("isoctl: offline:" in said and "does not run" in said, said)
    check(out.endswith("offline: which log sources report is not known\n"), out)
    status, again, said = isoctl("rules", "coverage", "--offline", "--rules", rules)
    check(status == 0 and not said and again == out, said)
    rows = [line.split() for line in out.splitlines()]
    check(status == 0 and ["Persistence", "T1098", "1", "Two", "Tactics"] in rows and "REPORTING" not in out, out + said)
    check(["(no", "tactic)", "T1110", "1", "Odd"] in rows and ["Credential", "Access", "T1110", "1", "Failed", "Logon"] in rows, out)
    check("5 techniques of 4 tactics in 6 rules, of which 1 name no technique" in out, out)


# --- backtest ---

def flip(path, text):
    """Damages the stored record that holds `text`."""
    with open(path, "r+b") as f:
        content = f.read()
        at = content.index(text.encode())
        f.seek(at)
        f.write(bytes([content[at] ^ 1]))


def backtest(folder):
    rules = os.path.join(folder, "backtest", "rules")
    write(rules, "failed.yml", FAILED)
    write(rules, "encoded.yml", ENCODED)

    def run(*arguments):
        status, out, said = isoctl("--json", "rules", "backtest", "--rules", rules, *arguments)
        found = objects(out)
        return status, [o for o in found if "sequence" in o], [o for o in found if "first_ns" in o], said

    with Isod("workers: 1\n") as isod:
        isod.send("--tcp", [ssh(second) for second in range(10)] + ["nothing", EVENTS[0]])
        isod.wait_events(12, "tcp")
        state = isod.path("state")
        status, matches, sums, said = run("--evidence", state)
        check(status == 0 and len(matches) == 11 and not said, said)
        first = matches[0]
        check(first["rule"] == "10000000-0000-4000-8000-000000000002" and first["source"].startswith("tcp/"), str(first))
        check(first["worker"] == 0 and first["level"] == "low" and first["tags"][1] == "attack.t1110", str(first))
        numbers = [m["sequence"] for m in matches]
        check(numbers == sorted(set(numbers)) and numbers[9] + 2 == numbers[10], str(numbers))
        check([(s["title"], s["matches"]) for s in sums[:-1]] == [("Failed Logon", 10), ("Encoded PowerShell", 1)], str(sums))
        check(sums[-1]["matches"] == 11 and sums[-1]["rules_matched"] == 2 and sums[-1]["workers"] == 1, str(sums[-1]))
        check(sums[-1]["frames"] >= 12 and sums[-1]["damaged"] == 0, str(sums[-1]))

        check(len(run("--evidence", os.path.join(state, "evidence"))[1]) == 11, "the evidence's own folder")
        check(len(run("--evidence", os.path.join(state, "evidence", "0"))[1]) == 11, "a worker's own folder")
        check(run("--evidence", state, "--to", "1h")[1] == [], "nothing is as old as an hour")
        check(run("--evidence", state, "--from", "2999-01-01T00:00:00Z")[1] == [], "nothing is of the future")
        check(len(run("--evidence", state, "--from", "1h")[1]) == 11, "all is of this hour")
        check(run("--evidence", state, "--summary")[1] == [], "only the sums")
        status, out, _ = isoctl("rules", "backtest", "--rules", rules, "--evidence", state)
        check(status == 0 and f" {numbers[0]}  20" in out and "11 matches of 2 of 2 rules in " in out, out)

        # Not before: it would take the state down with it.
        copy = os.path.join(folder, "state")
        shutil.copytree(os.path.join(state, "evidence", "0"), os.path.join(copy, "evidence", "7"))

    segments = sorted(name for name in os.listdir(os.path.join(copy, "evidence", "7")) if name.endswith(".log"))
    flip(os.path.join(copy, "evidence", "7", segments[-1]), "18:00:05 web1")
    status, matches, sums, said = run("--evidence", copy)
    check(status == 1 and segments[-1] in said and sums[-1]["damaged"] == 1, said)
    check([m["sequence"] for m in matches] == numbers[:5] and matches[0]["worker"] == 7, "what is before the damage is good")
    for place in (rules, "/nonexistent"):
        status, _, _, said = run("--evidence", place)
        check(status == 1 and place in said, said)


def scenario():
    with tempfile.TemporaryDirectory(prefix="isod-test-") as folder:
        checks(folder)
        explains(folder)
        tests(folder)
        coverage(folder)
        backtest(folder)


main(scenario)
