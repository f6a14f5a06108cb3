"""Certificates of senders and of isod itself, with openssl's own client and isoctl as senders: who is allowed and who is
refused, by name, fingerprint and revocation list, told and counted with the name that was shown; new files and names on
SIGHUP without a connection lost, bad ones refused; ends that come near are told once, also over a restart; and a message
whose host is not the sender's is found, the same when the evidence is detected again."""
import json
import os
import re
import shutil
import signal
import subprocess

from harness import TOP, Isod, check, main, need

HOST_DIFFERS = "b3a4c1de-5d3f-4a55-9c0b-2f7e61d0c8a4"
CERTIFICATE_ENDS = "2b7b4a55-5a0c-4d19-9d0e-4e6e0b7f6d13"

LINE = "<30>Nov 23 18:00:00 %s app: %s\n"


class Authority:
    """A CA of openssl's, with a revocation list."""

    def __init__(self, folder, name):
        self.dir, self.name = folder, name
        self.file = os.path.join(folder, name)
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "400",
                     "-subj", f"/CN={name}", "-keyout", self.file + ".key", "-out", self.file + ".pem",
                     "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        with open(self.file + ".cnf", "w") as f:
            f.write(f"[ca]\ndefault_ca=it\n[it]\ndatabase={self.file}.index\ncrlnumber={self.file}.number\n"
                    f"default_md=sha256\ndefault_crl_days=30\n")
        open(self.file + ".index", "w").close()
        with open(self.file + ".number", "w") as f:
            f.write("01\n")
        self.revoke_list()

    def openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True)
        check(done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def sign(self, name, cn, days=365, san=None):
        path = os.path.join(self.dir, name)
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days),
                     "-subj", f"/CN={cn}", "-keyout", path + ".key", "-out", path + ".pem",
                     "-CA", self.file + ".pem", "-CAkey", self.file + ".key",
                     "-addext", "basicConstraints=critical,CA:FALSE",
                     *(["-addext", "subjectAltName=" + san] if san else []))
        return path

    def revoke(self, name):
        self.openssl("ca", "-config", self.file + ".cnf", "-cert", self.file + ".pem", "-keyfile", self.file + ".key",
                     "-revoke", os.path.join(self.dir, name + ".pem"))
        self.revoke_list()

    def revoke_list(self):
        self.openssl("ca", "-config", self.file + ".cnf", "-cert", self.file + ".pem", "-keyfile", self.file + ".key",
                     "-gencrl", "-out", self.file + ".crl")


def self_signed(isod, name):
    path = isod.path("tls", name)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365",
                    "-subj", f"/CN={name}", "-keyout", path + ".key", "-out", path + ".pem"], check=True, capture_output=True)
    text = subprocess.run(["openssl", "x509", "-in", path + ".pem", "-noout", "-fingerprint", "-sha256"], check=True,
                          capture_output=True, text=True).stdout
    return "sha-256:" + text.strip().split("=")[1]


def listener(allowed, **more):
    options = {"name": "mutual", "kind": "tls", "address": '"127.0.0.1:0"', "certificate": "tls/siem.pem",
               "key": "tls/siem.key", "ca": "tls/senders.pem", "peers": "required", "crl": "tls/senders.crl",
               "allowed": "[" + ", ".join(f'"{a}"' for a in allowed) + "]", **more}
    return "\n  - {" + ", ".join(f"{k}: {v}" for k, v in options.items()) + "}\n"


def set_listener(isod, text):
    with open(isod.path("isod.yaml")) as f:
        whole = f.read()
    whole = re.sub(r"\n  - \{name: mutual[^\n]*\}\n", "\n", whole)
    isod.write("isod.yaml", whole.replace("\nrules: ", text + "rules: ", 1))


def openssl_client(isod, name):
    """openssl s_client, which sends what is written to its standard input."""
    arguments = ["openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", isod.address("mutual")]
    if name:
        arguments += ["-cert", isod.path("tls", name + ".pem"), "-key", isod.path("tls", name + ".key")]
    return subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def sent(isod, name, host="web1", text="hello"):
    """Sends one line; True when it became an event, False when the peer was counted as refused."""
    before, refused = isod.events("mutual/"), status_of(isod)["peers_refused"]
    client = openssl_client(isod, name)
    try:
        client.communicate((LINE % (host, text)).encode(), timeout=120)
    except BrokenPipeError:
        pass
    isod.wait(lambda: isod.events("mutual/") + status_of(isod)["peers_refused"] > before + refused,
              f"{name} is heard or refused")
    return isod.events("mutual/") > before


def status_of(isod):
    return next(l for l in isod.status()["listeners"] if l["name"] == "mutual")


def reload(isod, done):
    before = isod.log().count(done)
    isod.process.send_signal(signal.SIGHUP)
    isod.wait(lambda: isod.log().count(done) > before, done)


def allowed_and_refused(isod, ca):
    check(sent(isod, "web1"), "one by its name")
    check(sent(isod, "db7"), "one by a wildcard")
    check(sent(isod, "lonely"), "a self-signed one by its fingerprint")
    check(not sent(isod, "mail"), "one that is not allowed")
    check("who shows a certificate of CN=mail is refused" in isod.log(), "the log names it")
    check(not sent(isod, None), "one without a certificate")
    check(not sent(isod, "forged"), "the right name by another CA")
    check(not sent(isod, "stolen"), "one that was revoked")
    check(status_of(isod)["peers_refused"] == 4, "four were refused")


def reloaded(isod, ca, fingerprint):
    """A connection outlives all of it."""
    before = isod.events("mutual/")
    old = openssl_client(isod, "web1")
    old.stdin.write((LINE % ("web1", "before")).encode())
    old.stdin.flush()
    isod.wait(lambda: isod.events("mutual/") == before + 1, "it is connected")
    ca.revoke("web1")
    ca.sign("siem", "siem2", san="DNS:localhost,IP:127.0.0.1")
    set_listener(isod, listener(["mail", fingerprint]))
    reload(isod, "certificates of 2 listeners are loaded anew")
    count = isod.events("mutual/")
    old.stdin.write((LINE % ("web1", "after")).encode())
    old.stdin.flush()
    isod.wait(lambda: isod.events("mutual/") > count, "the old connection goes on")
    check(isod.events("mutual/") == before + 2, "and nothing else came")
    check(sent(isod, "mail"), "one that is allowed now")
    check(not sent(isod, "db7"), "one that no longer is")
    check("siem2" in [c["name"] for c in isod.status()["certificates"]], "isod shows its new certificate")
    # What is bad changes nothing.
    for bad in (lambda: set_listener(isod, listener(["a*b"])), lambda: isod.write("tls/siem.pem", "nothing\n")):
        bad()
        reload(isod, "certificates refused: ")
        check(sent(isod, "mail"), "the old ones go on")
        check(isod.status()["certificates_error"], "the status tells")
    ca.sign("siem", "siem3", san="DNS:localhost,IP:127.0.0.1")
    set_listener(isod, listener(["*.example.org", "mail", "soon", fingerprint]))
    reload(isod, "certificates of 2 listeners are loaded anew")
    check(not isod.status().get("certificates_error"), "and all is well again")
    old.stdin.close()
    old.wait(120)


def ends(isod, ca):
    def told():
        return re.findall(r"the certificate (\S+) of listener mutual ends", isod.log())
    check(told() == [], f"nothing ends soon: {told()}")
    ca.sign("soon", "soon", days=5)
    for _ in range(3):
        check(sent(isod, "soon"), "it is good for five days")
    isod.wait(lambda: told() == ["soon"], "told once")
    mine = [c for c in isod.status()["certificates"] if c["peer"]]
    check([c["name"] for c in mine] == ["soon"], f"the status lists it: {mine}")
    check(re.search(r"soon +a sender to mutual +\d+ d", isod.isoctl("status").stdout), "and isoctl the days left")
    isod.wait(lambda: hits(isod, CERTIFICATE_ENDS) == 1, "and a rule has found it")
    isod.stop()
    isod.start()
    check(sent(isod, "soon"), "after a restart")
    isod.wait(lambda: [c for c in isod.status()["certificates"] if c["peer"]], "it is known again")
    check(told() == ["soon"], "not told again")


def hits(isod, rule):
    rules = {r["rule"]: r for r in isod.ask("rules", "stats", "--limit", "1000")}
    return rules.get(rule, {}).get("hits", 0)


def forged_host(isod):
    """The certificate says db7.example.org."""
    check(sent(isod, "db7", host="db7") and sent(isod, "db7", host="db7.example.org"), "it is let in")
    before = hits(isod, HOST_DIFFERS)
    check(sent(isod, "db7", host="web9"), "it is let in again")
    isod.wait(lambda: hits(isod, HOST_DIFFERS) > before, "a message in another host's name is found")
    check(hits(isod, HOST_DIFFERS) == before + 1, "and no other")
    # The same from the evidence alone: by isoctl, and by an isod that has lost its ledger.
    rule = os.path.join(TOP, "conf/rules/isod/host_differs.yml")
    isod.wait(lambda: isod.status()["workers"], "it answers")
    isod.stop()
    done = isod.isoctl("--json", "rules", "backtest", "--rules", rule, "--logsources",
                       os.path.join(TOP, "conf/logsources.yaml"), "--evidence", isod.path("state"))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = sum("sequence" in line for line in lines)
    check(found, f"isoctl finds it too: {lines}")
    for name in ("ledger", "snapshots", "anchors"):
        shutil.rmtree(isod.path("state", name), ignore_errors=True)
    isod.start()
    isod.wait(lambda: not any(w["redetecting"] for w in isod.status()["workers"]), "all is detected again")
    again = hits(isod, HOST_DIFFERS)
    check(again > 0 and again == found, f"{again} found again, {found} by isoctl")


def scenario():
    need("openssl")
    with Isod(start=False) as isod:
        ca = Authority(isod.path("tls"), "senders")
        other = Authority(isod.path("tls"), "others")
        ca.sign("siem", "siem", san="DNS:localhost,IP:127.0.0.1")
        ca.sign("web1", "web1")
        ca.sign("db7", "db", san="DNS:db7.example.org")
        ca.sign("mail", "mail")
        ca.sign("stolen", "web1")
        ca.revoke("stolen")
        other.sign("forged", "web1")
        fingerprint = self_signed(isod, "lonely")
        set_listener(isod, listener(["web1", "*.example.org", fingerprint]))
        isod.start()
        allowed_and_refused(isod, ca)
        reloaded(isod, ca, fingerprint)
        ends(isod, ca)
        forged_host(isod)


main(scenario)
