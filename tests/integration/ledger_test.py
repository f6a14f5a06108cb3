"""The ledger of a real isod, proven and shown offline: sound while it is written and after; every changed byte and every
missing segment is found and named; what a crash leaves is told and is no damage; and isod itself refuses a damaged
ledger and says where."""
import base64
import json
import os
import re
import shutil
import subprocess

from harness import BUILD, Isod, check, main


def isoctl(*arguments):
    return subprocess.run([os.path.join(BUILD, "isoctl"), *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def verify(folder):
    done = isoctl("--json", "ledger", "verify", folder)
    return done.returncode, json.loads(done.stdout)


def scenario():
    with Isod() as isod:
        lines = [f"<38>Nov 23 18:00:00 web1 sshd[7]: Failed password for u{n % 9} from 203.0.113.{n % 50} port {n} ssh2"
                 for n in range(2000)]
        isod.send("--tcp", lines)
        isod.wait_events(2000, "tcp/")
        ledger = isod.path("state", "ledger")
        status, report = verify(ledger)
        check(status == 0 and report["sound"], f"sound while it is written: {report}")
        isod.stop()
        status, report = verify(isod.path("state"))
        check(status == 0 and report["path"].endswith("ledger") and report["torn_bytes"] == 0, f"after: {report}")
        check(report["first"] == 1 and report["records"] == report["last"] > 10, f"all records: {report}")
        shown(ledger, report)
        changed(isod, ledger, report)
        torn(isod, ledger)
        refuses(isod, ledger)
        evidence_goes_on(isod)
    with Isod("anchors: {interval: 1s}\nledger: {commit_interval: 100ms, commit_bytes: 64KiB}\n") as isod:
        anchored(isod)


def shown(ledger, report):
    records = [json.loads(line) for line in isoctl("ledger", "show", ledger).stdout.splitlines()]
    check([r["sequence"] for r in records] == list(range(1, report["last"] + 1)), "every record in order")
    times = [r["time_ns"] for r in records]
    check(times == sorted(times), "time never decreases")
    kinds = {next(iter(r["body"])) for r in records}
    check({"started", "settings", "match", "tally"} <= kinds, f"what happened: {kinds}")
    part = isoctl("ledger", "show", ledger, "--from", "5", "--limit", "3").stdout.splitlines()
    check([json.loads(line)["sequence"] for line in part] == [5, 6, 7], "a part of it")


def changed(isod, ledger, report):
    """Bytes flipped here and there in a copy."""
    copy = isod.path("copy")
    shutil.copytree(ledger, copy)
    name = sorted(os.listdir(copy))[0]
    path = os.path.join(copy, name)
    with open(path, "rb") as f:
        good = f.read()
    last = -1
    for at in [0, 20, 63, 64, 70, 90, *range(100, len(good), max(1, len(good) // 40)), len(good) - 1]:
        bad = bytearray(good)
        bad[at] ^= 0x10
        with open(path, "wb") as f:
            f.write(bad)
        done, told = verify(copy)
        check(done == 1 and not told["sound"], f"byte {at} was changed, and: {told}")
        where = re.search(r"(\d{20}\.log): offset (\d+): sequence (\d+): \S", told["error"])
        check(where and where[1] == name and int(where[2]) <= at, f"byte {at}: {told['error']}")
        check(told["records"] == max(int(where[3]) - 1, 0), f"all before it is good: {told}")
        check(int(where[2]) >= last or at < 100, f"named in order: {told}")
        last = int(where[2])
        table = isoctl("ledger", "verify", copy)
        check(table.returncode == 1 and "DAMAGED" in table.stdout and where[0] in table.stdout, table.stdout)
    shutil.rmtree(copy)
    missing = isoctl("ledger", "verify", copy)
    check(missing.returncode == 1 and copy in missing.stderr, f"no ledger: {missing}")


def torn(isod, ledger):
    """Cut as a crash cuts: no damage, and isod goes on."""
    path = os.path.join(ledger, sorted(os.listdir(ledger))[-1])
    with open(path, "r+b") as f:
        f.truncate(os.path.getsize(path) - 5)
    done, told = verify(ledger)
    check(done == 0 and told["sound"] and told["torn_bytes"] > 0, f"a torn tail: {told}")
    isod.start()
    check("torn tail" in isod.log(), "isod says that it cut it off")
    isod.stop()
    done, told = verify(ledger)
    check(done == 0 and told["torn_bytes"] == 0, f"and it is gone: {told}")


def refuses(isod, ledger):
    path = os.path.join(ledger, sorted(os.listdir(ledger))[0])
    at = os.path.getsize(path) // 3 * 2
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 1]))
    done = subprocess.run([os.path.join(BUILD, "isod"), "--config", isod.path("isod.yaml")], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
    check(done.returncode != 0 and re.search(r"\d{20}\.log: offset \d+: sequence \d+", done.stdout),
          f"isod must not start on a damaged ledger, and say where: {done.stdout[-2000:]}")
    cut(isod, ledger, done.stdout)


def cut(isod, ledger, said):
    """The way out that isod offers: what is behind the last good record is set aside, and isod starts again."""
    offer = re.search(r"`isoctl (ledger cut --at (\d+) (\S+))`", said)
    check(offer, f"a way out is offered: {said[-2000:]}")
    at = int(offer[2])
    check(verify(ledger)[1]["last"] == at, "it is the last good record")
    before = {name: open(os.path.join(ledger, name), "rb").read() for name in os.listdir(ledger)}
    beyond = isoctl("ledger", "cut", "--at", str(at + 1), ledger)
    check(beyond.returncode == 1 and "offset" in beyond.stderr, f"behind the damage there is no cut: {beyond}")
    check(isoctl("ledger", "cut", ledger).returncode == 2, "the sequence must be told")
    done = isoctl(*offer[1].split())
    check(done.returncode == 0 and "cut-" in done.stdout, f"{done}")
    aside = next(os.path.join(ledger, name) for name in os.listdir(ledger) if name.startswith("cut-"))
    for name, content in before.items():
        with open(os.path.join(aside, name), "rb") as f:
            check(f.read() == content, f"{name} is kept as it was")
    check(f"behind sequence {at}" in open(os.path.join(aside, "README")).read(), "and why")
    status, told = verify(ledger)
    check(status == 0 and told["last"] == at, f"what is left is sound: {told}")
    isod.start()
    busy = isoctl("ledger", "cut", "--at", "1", ledger)
    check(busy.returncode == 1 and "stop it first" in busy.stderr, f"not while isod runs: {busy}")
    isod.wait(lambda: isod.events("tcp/") == 2000, "what the ledger no longer knows is detected again")
    isod.stop()
    check(verify(ledger)[0] == 0, "and the ledger goes on")


def evidence_goes_on(isod):
    """Damaged evidence stops nothing: it is told and left as it is, and new evidence is written behind it."""
    folder = next(p for p in (isod.path("state", "evidence", w) for w in "01")
                  if os.path.getsize(os.path.join(p, sorted(os.listdir(p))[0])) > 2000)
    path = os.path.join(folder, sorted(os.listdir(folder))[-1])
    with open(path, "r+b") as f:
        f.seek(1000)
        byte = f.read(1)[0]
        f.seek(1000)
        f.write(bytes([byte ^ 1]))
    before = open(path, "rb").read()
    isod.start()
    check(re.search(r"\d{20}\.log: offset \d+: sequence \d+: .*goes on behind it", isod.log()), "said")
    seen = isod.events("tcp/")
    isod.send("--tcp", ["<38>Nov 23 18:00:00 web1 sshd[7]: still here"] * 50)
    isod.wait(lambda: isod.events("tcp/") == seen + 50, "new events are taken in")
    isod.stop()
    check(open(path, "rb").read() == before, "the damaged file is as it was")
    isod.start()
    check(isod.events("tcp/") == seen + 50, "and none is counted twice")
    isod.stop()


def anchored(isod):
    """What the chain alone cannot show: a whole ledger replaced by another sound one, and a ledger without its end."""
    isod.send("--tcp", ["<38>Nov 23 18:00:00 web1 sshd[7]: Failed password for root from 203.0.113.1 port 1 ssh2"] * 50)
    isod.wait_events(50, "tcp/")
    isod.wait(lambda: os.path.exists(isod.path("state", "anchors")), "the first anchor")
    node = dict(zip(*[iter(isod.redis("HGETALL", "iso:node:test").split())] * 2))
    check(len(node["ledger_head"]) == 64, f"and in Redis: {node}")
    isod.stop()
    state, ledger = isod.path("state"), isod.path("state", "ledger")
    check(oct(os.stat(isod.path("state", "anchors.key")).st_mode)[-3:] == "600", "the key is isod's own")
    key = isod.path("auditor.pem")
    with open(key, "w") as f:
        f.write(isoctl("ledger", "key", state).stdout)
    copy = isod.path("auditor.anchors")
    shutil.copy(isod.path("state", "anchors"), copy)
    last = open(copy).read().splitlines()[-1]
    openssl(isod, last, key)

    def against(folder):
        done = isoctl("--json", "ledger", "verify", folder, "--anchors", copy, "--public-key", key)
        return done.returncode, json.loads(done.stdout)
    done, told = against(state)
    check(done == 0 and told["sound"] and told["anchors"] >= 1, f"they agree: {told}")
    check(int(last.split()[2]) == told["last"] and last.split()[4] == head(told), f"the last is from the end: {last}")
    table = isoctl("ledger", "verify", state, "--anchors", copy, "--public-key", key).stdout
    check("anchors" in table and "sound" in table, table)
    check(isoctl("ledger", "verify", state, "--anchors", copy).returncode == 2, "a key is needed")
    whole_state(isod, copy, key)
    cut_off = isoctl("ledger", "cut", "--at", str(told["last"] - 1), ledger)
    check(cut_off.returncode == 0 and verify(ledger)[0] == 0, "one record less, and sound by itself")
    done, told = against(state)
    check(done == 1 and not told["sound"] and "its end is missing" in told["error"], f"cut: {told}")
    shutil.rmtree(ledger)
    isod.start()
    isod.stop()
    check(verify(ledger)[0] == 0, "another ledger, sound by itself")
    done, told = against(state)
    check(done == 1 and "not the one that was anchored" in told["error"] or "its end is missing" in told["error"],
          f"replaced: {told}")


def whole(folder, *options):
    done = isoctl("--json", "verify", folder, *options)
    return done.returncode, json.loads(done.stdout)


def whole_state(isod, anchors, key):
    """Everything in a state folder by one command, and what is wrong with each part of it, in a copy."""
    state, copy = isod.path("state"), isod.path("state copy")
    for options in ((), ("--anchors", anchors, "--public-key", key)):
        done, told = whole(state, *options)
        check(done == 0 and told["sound"] and told["anchors"]["agree"] >= 1, f"all of it: {told}")
        logs = {os.path.relpath(log["path"], state): log for log in told["logs"]}
        check(list(logs) == ["ledger", "evidence/0", "evidence/1"] and all(log["sound"] for log in logs.values()), logs)
        check(sum(log["records"] for log in told["logs"] if log["kind"] == "evidence") >= 50, f"the evidence: {logs}")
    worker = max(("0", "1"), key=lambda w: logs["evidence/" + w]["counted"])
    check(0 < logs["evidence/" + worker]["counted"] <= logs["evidence/" + worker]["last"], f"as far as counted: {logs}")
    table = isoctl("verify", state)
    check(table.returncode == 0 and re.search(r"^result +sound$", table.stdout, re.M) and "anchors" in table.stdout, table.stdout)
    for part, count in (("ledger", 1), ("evidence", 2), ("evidence/" + worker, 1)):
        done, told = whole(os.path.join(state, part))
        check(done == 0 and len(told["logs"]) == count, f"{part} alone: {told}")

    def first(*folder):
        folder = os.path.join(copy, *folder)
        return os.path.join(folder, sorted(os.listdir(folder))[0])

    def flip(path, at):
        with open(path, "r+b") as f:
            f.seek(at)
            byte = f.read(1)[0]
            f.seek(at)
            f.write(bytes([byte ^ 1]))

    def cut_short(path):
        with open(path, "r+b") as f:
            f.truncate(os.path.getsize(path) // 2)

    log = re.escape(os.path.join(copy, "evidence", worker))
    cases = (
        ("a byte of evidence", lambda: flip(first("evidence", worker), 300), log + r"/\d{20}\.log: offset \d+: sequence \d+: "),
        ("a byte of the ledger", lambda: flip(first("ledger"), 300), r"ledger/\d{20}\.log: offset \d+: sequence \d+: "),
        ("evidence without its end", lambda: cut_short(first("evidence", worker)), "it ends with sequence .* counted it up to"),
        ("no evidence", lambda: shutil.rmtree(os.path.join(copy, "evidence", worker)), "it is missing, and the ledger has counted"),
        ("the name of an anchor", lambda: flip(os.path.join(copy, "anchors"), 2), "anchors: line 1: this is no anchor"),
        ("a digit of an anchor", lambda: flip(os.path.join(copy, "anchors"), 90), "anchors: line 1: the signature is not that of"),
        ("no key", lambda: os.unlink(os.path.join(copy, "anchors.pub")), "anchors.pub: No such file"),
        ("no ledger", lambda: shutil.rmtree(os.path.join(copy, "ledger")), "ledger: No such file"),
    )
    for what, break_it, expected in cases:
        shutil.copytree(state, copy, ignore=lambda _, names: [n for n in names if n.endswith(".sock")])
        break_it()
        done, told = whole(copy)
        check(done == 1 and not told["sound"] and re.search(expected, told["error"]), f"{what}: {told}")
        table = isoctl("verify", copy)
        check(table.returncode == 1 and "DAMAGED" in table.stdout and told["error"] in table.stdout, table.stdout)
        shutil.rmtree(copy)
    nothing = isoctl("verify", isod.path("tls"))
    check(nothing.returncode == 1 and "no state folder" in nothing.stderr, f"{nothing}")
    check(isoctl("verify", state, "--anchors", anchors).returncode == 2, "a key is needed")
    wrong = isoctl("verify", os.path.join(state, "evidence"), "--anchors", anchors, "--public-key", key)
    check(wrong.returncode == 1 and "anchors are of a ledger" in wrong.stderr, f"{wrong}")


def head(report):
    return base64.b64decode(report["head"]).hex() if len(report["head"]) != 64 else report["head"]


def openssl(isod, line, key):
    """The signature, proven without any program of isod's."""
    text, signature = line.rsplit(" ", 1)
    for name, content in (("signed", text.encode()), ("signature", bytes.fromhex(signature))):
        with open(isod.path(name), "wb") as f:
            f.write(content)
    done = subprocess.run(["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", key, "-rawin", "-in", isod.path("signed"),
                           "-sigfile", isod.path("signature")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    check(done.returncode == 0, f"openssl: {done.stdout}")


main(scenario)
