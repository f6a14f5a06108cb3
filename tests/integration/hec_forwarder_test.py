"""Forwarders with configurations as they are in use send to the HTTP Event Collector over TLS: rsyslog, whose own HTTP output
Debian leaves out, through omprog and curl; and syslog-ng's http() destination in batches, when it is here (it cannot be
installed beside rsyslog: ISOD_SYSLOG_NG names a folder that its packages were unpacked in). isod is killed while they send.
Every line becomes an event, and what is there twice was sent again."""
import collections
import glob
import os
import shutil
import stat
import subprocess

from harness import Isod, check, main, need

LINES = 240
TOKEN = "4d1a8a0c-6c1b-4f0e-8c39-hec-token"
LINE = "<38>Nov 23 18:00:%02d web1 sshd[%d]: Failed password for root from 203.0.113.50 port %d ssh2"

# A line is confirmed to rsyslog when it has been answered.
HELPER = """#!/bin/bash
echo OK
while read -r line; do
	until printf '%%s' "$line" | curl -sf --cacert "%(ca)s" -H "Authorization: Splunk %(token)s" --data-binary @- \\
		"https://localhost:%(port)d/services/collector/event" >/dev/null; do sleep 0.1; done
	echo OK
done
"""

RSYSLOG = """
global(workDirectory="%(dir)s")
module(load="imfile")
module(load="omprog")
input(type="imfile" File="%(source)s" Tag="shipped")
template(name="framed" type="list") {
	constant(value="{\\"event\\":\\"") property(name="msg" format="json")
	constant(value="\\",\\"host\\":\\"") property(name="hostname" format="json")
	constant(value="\\",\\"sourcetype\\":\\"syslog\\"}\\n")
}
action(type="omprog" binary="%(helper)s" template="framed" confirmMessages="on" confirmTimeout="60000"
       action.resumeRetryCount="-1" action.resumeInterval="1")
"""

SYSLOG_NG = """@version: 3.38
options { threaded(yes); };
source s { file("%(source)s" flags(no-parse) follow-freq(0.1) read-old-records(yes)); };
destination d {
	http(url("https://localhost:%(port)d/services/collector/event") method("POST") user-agent("syslog-ng")
	     headers("Authorization: Splunk %(token)s") tls(ca-file("%(ca)s")) peer-verify(yes)
	     body("$(format-json --scope none event=$MESSAGE host=web1 sourcetype=syslog time=int64($UNIXTIME))")
	     delimiter("\\n") batch-lines(50) batch-timeout(200) time-reopen(1) retries(1000));
};
log { source(s); destination(d); flags(flow-control); };
"""


def lines(begin):
    return [LINE % (n % 60, begin + n, begin + n) for n in range(LINES)]


def new_isod():
    isod = Isod(start=False)
    isod.write("tokens", f"forwarder {TOKEN}\n")
    os.chmod(isod.path("tokens"), 0o600)
    with open(isod.path("isod.yaml")) as f:
        text = f.read()
    listener = f"""
  - {{name: hec, kind: hec-tls, address: "127.0.0.1:%d", tokens: tokens, certificate: tls/server.pem, key: tls/server.key}}
rules:"""
    isod.write("isod.yaml", text.replace("\nrules:", listener % 0, 1))
    isod.start()
    # The same port after a restart.
    isod.write("isod.yaml", text.replace("\nrules:", listener % isod.port("hec"), 1))
    return isod


def settings(isod, name, sent):
    os.mkdir(isod.path(name))
    source = isod.write(f"{name}/lines", "".join(line + "\n" for line in sent))
    return {"dir": isod.path(name), "source": source, "port": isod.port("hec"), "token": TOKEN, "helper": isod.path(name, "helper"),
            "ca": isod.path("tls", "ca.pem")}


def rsyslog(isod, sent):
    values = settings(isod, "rsyslog", sent)
    isod.write("rsyslog/helper", HELPER % values)
    os.chmod(values["helper"], stat.S_IRWXU)
    config = isod.write("rsyslog/conf", RSYSLOG % values)
    return [need("rsyslogd"), "-n", "-f", config, "-i", isod.path("rsyslog", "pid")], None


def syslog_ng(isod, sent):
    root = os.environ.get("ISOD_SYSLOG_NG", "")
    program = os.path.join(root, "usr/sbin/syslog-ng") if root else shutil.which("syslog-ng", path="/usr/sbin:/usr/bin:/sbin")
    if not program:
        return None, None
    values = settings(isod, "syslog-ng", sent)
    config = isod.write("syslog-ng/conf", SYSLOG_NG % values)
    at = isod.path("syslog-ng")
    command = [program, "-F", "--no-caps", "-f", config, "-R", at + "/persist", "-c", at + "/control", "-p", at + "/pid"]
    env = dict(os.environ)
    if root:
        libraries = [os.path.dirname(p) for p in glob.glob(root + "/usr/lib/**/lib*.so*", recursive=True)]
        env["LD_LIBRARY_PATH"] = ":".join(sorted(set(libraries)))
        command += ["--module-path", ":".join(glob.glob(root + "/usr/lib/syslog-ng/3.*"))]
    return command, env


def evidence(isod, sent):
    """How often each line stands in evidence."""
    found = collections.Counter()
    for path in glob.glob(isod.path("state", "evidence", "*", "*")):
        with open(path, "rb") as f:
            data = f.read()
        for line in sent:
            found[line] += data.count(line.split(": ", 1)[1].encode() + b'"')
    return found


def ship(forwarder, begin):
    sent = lines(begin)
    with new_isod() as isod:
        command, env = forwarder(isod, sent)
        if not command:
            print(f"skipped part: no {forwarder.__name__} here")
            return
        log = isod.path(forwarder.__name__ + ".log")
        with open(log, "wb") as f:
            process = subprocess.Popen(command, env=env, stdout=f, stderr=f, start_new_session=True)
        try:
            def came(count):
                check(process.poll() is None, "it ended: " + open(log, errors="replace").read()[-2000:])
                return isod.events("hec/forwarder@") >= count
            isod.wait(lambda: came(LINES // 6), "it sends")
            isod.kill()
            isod.start()
            isod.wait(lambda: came(LINES), "it sends the rest")
            isod.wait(lambda: min(evidence(isod, sent).values()) >= 1, "every line is in evidence")
        finally:
            os.killpg(process.pid, 9)
            process.wait()
        isod.wait(lambda: any("203.0.113.50" in i["title"] for i in isod.incidents()), "and the guessing in them is found")
        twice = sum(n - 1 for n in evidence(isod, sent).values())
        check(twice <= 100, f"only what was on its way at the kill is there twice, not {twice}")


def scenario():
    need("curl")
    ship(rsyslog, 10000)
    ship(syslog_ng, 20000)


main(scenario)
