"""A real rsyslog reads a file and forwards it over TLS (RFC 5425), as a server does: every line becomes an event."""
import os
import shutil
import subprocess

from harness import Isod, check, corpus, main, need, skip

LINES = 3000


def configuration(isod, source):
    return f"""
global(workDirectory="{isod.path('rsyslog')}" maxMessageSize="64k"
       DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="{isod.path('tls', 'ca.pem')}"
       DefaultNetstreamDriverCertFile="{isod.path('tls', 'client.pem')}"
       DefaultNetstreamDriverKeyFile="{isod.path('tls', 'client.key')}")
module(load="imfile")
input(type="imfile" File="{source}" Tag="shipped" Severity="info" Facility="auth")
action(type="omfwd" Target="127.0.0.1" Port="{isod.port('tls')}" Protocol="tcp" StreamDriver="ossl" StreamDriverMode="1"
       StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost" TCP_Framing="octet-counted"
       Template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1")
"""


def ship(isod, text, count):
    os.mkdir(isod.path("rsyslog"))
    source = isod.write("shipped.log", text)
    config = isod.write("rsyslog.conf", configuration(isod, source))
    with open(isod.path("rsyslog.log"), "wb") as log:
        rsyslog = subprocess.Popen([need("rsyslogd"), "-n", "-f", config, "-i", isod.path("rsyslog.pid")],
                                   stdout=log, stderr=log)
    try:
        isod.wait(lambda: isod.events("tls/") >= count or rsyslog.poll() is not None, "rsyslog ships everything")
        check(rsyslog.poll() is None, "rsyslogd ended: " + open(isod.path("rsyslog.log")).read()[-2000:])
        isod.wait_events(count, "tls/")
    finally:
        rsyslog.terminate()
        rsyslog.wait()


def scenario():
    if not os.path.exists("/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_ossl.so") and not shutil.which("rsyslogd"):
        skip("no rsyslog with its OpenSSL driver here")
    lines = [f"Nov 23 18:{n // 60 % 60:02}:{n % 60:02} LabHost sshd[{n}]: Failed password for root from 198.51.100.23 "
             f"port {n} ssh2" for n in range(LINES)]
    with Isod() as isod:
        ship(isod, "".join(line + "\n" for line in lines), LINES)
        isod.wait(lambda: any("198.51.100.23" in i["title"] for i in isod.incidents()),
                  "the guessing inside the shipped lines opens an incident")
        check(len([i for i in isod.incidents() if "198.51.100.23" in i["title"]]) == 1, "one incident with a count")
    path = corpus("syslog/OpenSSH_2k.log")
    if not path:
        print("skipped part: no shared corpus")
        return
    with open(path) as f:
        text = f.read()
    text += "" if text.endswith("\n") else "\n"
    with Isod() as isod:
        ship(isod, text, text.count("\n"))
        isod.wait(lambda: len(isod.incidents()) >= 10, "the guessing addresses become incidents")


main(scenario)
