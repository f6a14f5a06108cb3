"""Rules are loaded anew while events stream in over TLS: two good sets in turn, and a broken one between them. Both good
sets have one rule that holds for every event, with ids of their own: so if the matches of the two rules add up to the
number of events, no event was missed, none was evaluated twice and none by half a set. A broken set leaves the old one
running and says why; SIGHUP does the same as isoctl; lists of placeholders are part of the set."""
import json
import os
import signal
import socket
import ssl
import threading

from harness import Isod, check, main

RELOADS = 20
AHEAD = 5000  # events that a sender may have sent and isod not yet counted: a slow build must not drown
IDS = ("11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222")
WORDS = "33333333-3333-4333-8333-333333333333"
BURST = "44444444-4444-4444-8444-444444444444"

EVERY = """title: Every event, {name}
id: {id}
status: test
logsource:
    product: linux
    service: reload
detection:
    selection:
        program: reload
    condition: selection
level: low
"""
LISTED = """title: A listed word
id: %s
status: test
logsource:
    product: linux
    service: reload
detection:
    selection:
        program: listed
        message|contains|expand: '%%words%%'
    condition: selection
level: low
""" % WORDS
CORRELATION = """title: Many of it
id: %s
status: test
correlation:
    type: event_count
    rules:
        - %s
    group-by:
        - host
    timespan: 1h
    condition:
        gte: {least}
    generate: true
level: high
""" % (BURST, WORDS)
BROKEN = EVERY.format(name="broken", id=IDS[0]).replace("condition: selection", "condition: selection and missing")
LOGSOURCES = "sources:\n  - {product: linux, service: reload, when: {program: [reload, listed]}}\n" \
             "  - {product: isod, when: {product: isod, isod.source|startswith: isod/}}\n"


class Sender(threading.Thread):
    """Numbered events over TLS until told that it is enough. `counted` is how many of its events isod may have counted."""

    def __init__(self, isod, host):
        super().__init__()
        context = ssl.create_default_context(cafile=isod.path("tls", "ca.pem"))
        plain = socket.create_connection(("127.0.0.1", isod.port("tls")))
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.host, self.count, self.counted, self.enough, self.error = host, 0, 0, threading.Event(), None
        self.start()

    def run(self):
        try:
            while not self.enough.wait(0.002):
                if self.count > self.counted + AHEAD:
                    continue
                lines = [f"<13>Nov 23 18:00:00 {self.host} reload: event {n}" for n in range(self.count, self.count + 50)]
                self.socket.sendall("".join(f"{len(l)} {l}" for l in lines).encode())
                self.count += len(lines)
            self.socket.unwrap()
        except OSError as error:
            self.error = error
        finally:
            self.socket.close()

    def end(self):
        self.enough.set()
        self.join()
        check(self.error is None, f"the sender {self.host} failed: {self.error}")
        return self.count


def matches(isod, rule):
    """How often the ledger has seen the rule match."""
    return sum(s["total"] for s in isod.ask("metrics", "--scope", "rule", "--name", rule))


def own_events(isod, event):
    """isod's own events in evidence, by the rules that look at them."""
    return matches(isod, {"rules_refused": "46918a28-d5d7-4f10-a33d-bd3779e1b122"}[event])


def reload(isod, loaded=True):
    done = isod.isoctl("--json", "rules", "reload", check_exit=False)
    check(done.returncode == (0 if loaded else 1), f"reload: {done.returncode} {done.stdout}{done.stderr}")
    answer = json.loads(done.stdout)
    check(bool(answer.get("loaded")) == loaded, f"reload: {answer}")
    return answer


def every(isod, which):
    isod.write("rules/every.yml", EVERY.format(name="set %d" % which, id=IDS[which]))


def under_load(isod):
    every(isod, 0)
    reload(isod)
    senders = [Sender(isod, f"web{n}") for n in range(3)]

    def progress():
        now = isod.events("tls/")
        for s in senders:
            s.counted = now // len(senders)
        return now

    for round in range(RELOADS):
        before = progress()
        isod.wait(lambda: progress() > before, "events stream in")
        if round % 5 == 2:
            isod.write("rules/every.yml", BROKEN)
            answer = reload(isod, loaded=False)
            problem = answer["problems"][0]
            check(problem["file"].endswith("rules/every.yml") and problem["line"] == 10 and problem["column"] > 1
                  and "missing" in problem["text"], f"the problem is told with its place: {problem}")
            check("every.yml:10:" in isod.status()["rules_error"], "status tells it")
        every(isod, (round + 1) % 2)
        if round % 7 == 3:
            refused = isod.status()["rules_loaded_ns"]
            isod.process.send_signal(signal.SIGHUP)
            isod.wait(lambda: isod.status()["rules_loaded_ns"] != refused, "SIGHUP loads the rules anew")
        else:
            reload(isod)
        check(not isod.status().get("rules_error"), "a good set takes the error away")
    sent = sum(s.end() for s in senders)
    isod.wait_events(sent, "tls/")
    isod.wait(lambda: sum(matches(isod, id) for id in IDS) >= sent, "all matches are in the ledger")
    found = [matches(isod, id) for id in IDS]
    check(sum(found) == sent, f"{found} matches of {sent} events")
    check(min(found) > 0, f"both sets have run: {found}")
    matched = sum(s["matched"] for name, s in isod.sources().items() if name.startswith("tls/"))
    check(matched == sent, f"{matched} events of {sent} had a match")


def many_at_once(isod):
    """Requests that come while one runs are answered by the next one: all see what was there when they asked."""
    answers = []

    def ask():
        answers.append(isod.isoctl("rules", "reload", check_exit=False))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    check(all(a.returncode == 0 for a in answers), f"{[a.stderr for a in answers]}")


def broken_by_signal(isod):
    before = isod.status()
    isod.write("rules/every.yml", "title: [\n")
    isod.process.send_signal(signal.SIGHUP)
    isod.wait(lambda: isod.status().get("rules_error"), "SIGHUP with a broken set")
    after = isod.status()
    check(after["rules"] == before["rules"] and after["rules_loaded_ns"] == before["rules_loaded_ns"], "the old set goes on")
    check("rules/every.yml:" in isod.log() and "rules refused" in isod.log(), "the log tells why")
    isod.wait(lambda: own_events(isod, "rules_refused") > 0, "a rule tells of refused rules")
    told = isod.isoctl("status").stdout
    check("REFUSED" in told and "every.yml:" in told, f"isoctl status tells it: {told}")
    os.remove(isod.path("rules", "every.yml"))
    reload(isod)


def placeholders(isod):
    isod.write("rules/listed.yml", LISTED)
    isod.write("placeholders.yaml", "words: [alpha]\n")
    reload(isod)

    def send(word, times=1):
        isod.send("--tls", [f"<13>Nov 23 18:00:00 web9 listed: the word {word} {n}" for n in range(times)])

    send("beta")
    send("alpha")
    isod.wait(lambda: matches(isod, WORDS) == 1, "a listed word")
    isod.write("placeholders.yaml", "words:\n  - alpha\n  - beta\n")
    send("beta")
    reload(isod)
    send("beta")
    isod.wait(lambda: matches(isod, WORDS) == 2, "the longer list")
    isod.write("placeholders.yaml", "words: {a: 1}\n")
    check("placeholders.yaml" in reload(isod, loaded=False)["problems"][0]["file"], "a broken list is told")
    isod.write("placeholders.yaml", "words: [alpha]\n")
    reload(isod)


def correlations(isod):
    """Groups of a correlation that stays go on through a reload; new correlations begin with the matches after it."""
    isod.write("rules/burst.yml", CORRELATION.format(least=4))
    reload(isod)
    before = matches(isod, WORDS)
    for part in range(2):
        isod.send("--tls", [f"<13>Nov 23 18:00:00 web7 listed: alpha {part}.{n}" for n in range(2)])
        isod.wait(lambda: matches(isod, WORDS) == before + 2 * part + 2, "matches")
        check(matches(isod, BURST) == part, f"{matches(isod, BURST)} bursts after {2 * part + 2} matches")
        every(isod, part)
        reload(isod)
    isod.write("rules/burst.yml", CORRELATION.format(least=2))
    reload(isod)
    isod.send("--tls", ["<13>Nov 23 18:00:00 web7 listed: alpha again"])
    isod.wait(lambda: matches(isod, WORDS) == before + 5, "matches")
    check(matches(isod, BURST) == 1, "a changed correlation has forgotten the old one's groups")
    isod.send("--tls", ["<13>Nov 23 18:00:00 web7 listed: alpha again"])
    isod.wait(lambda: matches(isod, BURST) == 2, "and counts by its own")


def stats(isod):
    reload(isod)
    before = matches(isod, WORDS)
    isod.send("--tls", [f"<13>Nov 23 18:00:00 web5 listed: alpha {n}" for n in range(1000)])
    isod.wait(lambda: matches(isod, WORDS) == before + 1000, "a thousand matches")
    rules = {s["rule"]: s for s in isod.ask("rules", "stats")}
    check(WORDS in rules and rules[WORDS]["hits"] == 1000, f"hits since the last reload: {rules.get(WORDS)}")
    costs = [s.get("sampled_ns", 0) for s in isod.ask("rules", "stats")]
    check(costs == sorted(costs, reverse=True) and costs[0] > 0, f"the most expensive first: {costs[:5]}")
    table = isod.isoctl("rules", "stats", "--limit", "3").stdout
    check(table.count("%") == 3 and "time was taken" in table, table)
    coverage(isod)


def coverage(isod):
    """Which log sources report is asked of the running daemon."""
    said = isod.ask("rules", "coverage", "--rules", isod.path("rules"), "--logsources", isod.path("logsources.yaml"))
    seen = {(s["source"]["product"], s["source"]["service"]): s for s in said if "source" in s}
    check(said[-1]["basis"] == "daemon" and said[-1]["events"] >= 1000, str(said[-1]))
    check(seen[("linux", "reload")]["events"] >= 1000 and int(seen[("linux", "reload")]["last_ns"]) > 0, str(seen))
    table = isod.isoctl("rules", "coverage", "--rules", isod.path("rules"), "--logsources",
                        isod.path("logsources.yaml")).stdout
    check("since the daemon loaded its rules" in table and "LAST" in table, table)


def configuration(isod):
    check(not reload(isod).get("config_changed"), "the configuration is as it was")
    with open(isod.path("isod.yaml"), "a") as f:
        f.write("# a remark\n")
    check(reload(isod)["config_changed"], "a changed isod.yaml is told")
    check("takes a restart" in isod.log(), "and logged")


def nobody_poses_as_isod(isod):
    """isod's own events come from itself: what others send as product isod is just an event."""
    stopped = "fb21126b-dfa9-411f-95b1-1e884c4a7cbb"
    before = isod.events("tls/")
    isod.send("--tls", [json.dumps({"product": "isod", "event": "stopped", "isod.source": "isod/test", "source": "isod/test",
                                    "isod": {"source": "isod/test"}})])
    isod.wait_events(before + 1, "tls/")
    check(matches(isod, stopped) == 0, "a false isod is not believed")
    isod.stop()
    isod.start()
    isod.wait(lambda: matches(isod, stopped) == 1, "the true one is")


def scenario():
    top = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", "conf")
    with Isod(start=False) as isod:
        os.mkdir(isod.path("rules"))
        isod.write("logsources.yaml", LOGSOURCES)
        isod.write("placeholders.yaml", "# none yet\n")
        with open(isod.path("isod.yaml")) as f:
            settings = [l for l in f if not l.startswith(("rules:", "logsources:"))]
        isod.write("isod.yaml", "".join(settings) + f"rules: [rules, {top}/rules/isod]\nlogsources: logsources.yaml\n"
                   "placeholders: placeholders.yaml\n")
        isod.start()
        under_load(isod)
        many_at_once(isod)
        broken_by_signal(isod)
        placeholders(isod)
        correlations(isod)
        stats(isod)
        configuration(isod)
        nobody_poses_as_isod(isod)
        isod.isoctl("ledger", "verify", isod.path("state", "ledger"))


main(scenario)
