"""isod --check tells everything that is wrong with a configuration in one run: file, line, column, and the near miss."""
import os
import subprocess

from harness import BUILD, TOP, Isod, check, main


def verdict(isod, text, escalation=None):
    isod.write("bad.yaml", text)
    if escalation is not None:
        isod.write("bad-escalation.yaml", escalation)
    done = subprocess.run([os.path.join(BUILD, "isod"), "--check", "--config", isod.path("bad.yaml")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def scenario():
    with Isod(start=False) as isod:
        with open(isod.path("isod.yaml")) as f:
            good = f.read()
        status, said = verdict(isod, good)
        check(status == 0, "a good configuration passes: " + said)
        status, said = verdict(isod, good.replace("node:", "nodee:"))
        check(status == 1 and "bad.yaml:1:1: error:" in said and "node" in said, "a near miss is named: " + said)
        status, said = verdict(isod, good.replace("level: info", "level: loud").replace("mode: embedded", "mode: embeded"))
        check(status == 1 and said.count("error:") == 2, "all errors in one run: " + said)
        status, said = verdict(isod, good + "\n\tx: 1\n")
        check(status == 1 and "bad.yaml:" in said, "a tab: " + said)
        status, said = verdict(isod, good.replace("tls/server.pem", "tls/missing.pem"))
        check(status == 1 and "missing.pem" in said, "a missing certificate: " + said)
        status, said = verdict(isod, good.replace("escalation: escalation.yaml", "escalation: bad-escalation.yaml"),
                               "plugins:\n  - {name: a, program: exec}\nroutes:\n  - {name: r, plugin: b}\n")
        check(status == 1 and "bad-escalation.yaml:4:" in said, "a route to no plugin: " + said)
        rule = isod.write("rule.yml", "title: x\nlogsource: {product: linux}\ndetection:\n  a:\n    f|contanis: x\n"
                                      "  condition: a\n")
        status, said = verdict(isod, good.replace(f"{TOP}/conf/rules]", f"{TOP}/conf/rules, {rule}]"))
        check(status == 1 and "rule.yml:5:" in said and "contains" in said, "a rule with an unknown modifier: " + said)
        done = subprocess.run([os.path.join(BUILD, "isod"), "--check", isod.path("isod.yaml")], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(done.returncode == 2 and "one argument too many" in done.stdout, f"a file without --config: {done}")


main(scenario)
