#!/usr/bin/python3
"""testssl.sh (Debian's package of that name) against isod's TLS listener: nothing it finds is graver than LOW. Takes a minute
and a half, so it is no part of make test."""
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "integration"))
from harness import Isod, check, main, need  # noqa: E402

HARMLESS = ("OK", "INFO", "LOW", "DEBUG", "WARN")


def certificate(isod):
    """As a real CA signs them: it tells where its revocation list is. Nobody fetches it here."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    tls = isod.path("tls")
    extensions = isod.write("tls/extensions", "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"
                            "keyUsage=critical,digitalSignature\ncrlDistributionPoints=URI:http://localhost:9/ca.crl\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{tls}/server.key",
            "-subj", "/CN=localhost", "-out", f"{tls}/server.csr")
    openssl("x509", "-req", "-in", f"{tls}/server.csr", "-CA", f"{tls}/ca.pem", "-CAkey", f"{tls}/ca.key", "-CAcreateserial",
            "-days", "90", "-extfile", extensions, "-out", f"{tls}/server.pem")


def scenario():
    program = need("testssl")
    with Isod(start=False) as isod:
        certificate(isod)
        isod.start()
        report = isod.path("testssl.json")
        subprocess.run([program, "--quiet", "--color", "0", "--warnings", "off", "--jsonfile", report,
                        "--add-ca", isod.path("tls", "ca.pem"), isod.address("tls")],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with open(report) as f:
            findings = json.load(f)
        for f in findings:
            print(f"{f['severity']:8} {f['id']}: {f['finding']}")
        check(len(findings) > 100, f"only {len(findings)} findings: testssl.sh did not get through")
        grave = [f["id"] for f in findings if f["severity"] not in HARMLESS]
        check(not grave, f"graver than LOW: {', '.join(grave)}")
        isod.send("--tls", ["Nov 23 18:00:00 web1 app: still here"])
        isod.wait(lambda: any(s["source"].startswith("tls/") and s["received"] for s in isod.status()["sources"]),
                  "isod still takes messages in")


main(scenario)
