"""HTTP Event Collector, plain and over TLS, with curl and with rsyslog's own HTTP as clients: events, raw lines, gzip, ackIds;
wrong tokens, wrong data, bombs, requests that never end, while an honest client is served. What was answered with
"Success" is in evidence after a kill -9, and is detected again alike."""
import gzip
import json
import os
import socket
import ssl
import subprocess
import threading
import zlib

from harness import BUILD, Isod, check, main, need

GOOD, ACKING = "0f5c6c7e-good-token", "5d0e6f4a-acking-token"
CHANNEL = "FE0ECFAD-13D5-401B-847D-77833BD77131"
GUESS = "Failed password for root from 203.0.113.%d port 4711 ssh2"

LISTENERS = """
  - {name: hec, kind: hec, address: "127.0.0.1:0", tokens: tokens, body_max: 256KiB, expanded_max: 8MiB, request_timeout: 2s}
  - {name: hectls, kind: hec-tls, address: "127.0.0.1:0", tokens: tokens, certificate: tls/server.pem, key: tls/server.key}
rules:"""


def new_isod(settings=""):
    isod = Isod(settings, start=False)
    isod.write("tokens", f"# who may send\nshipper {GOOD}\nsure {ACKING} ack\n")
    os.chmod(isod.path("tokens"), 0o600)
    with open(isod.path("isod.yaml")) as f:
        text = f.read()
    isod.write("isod.yaml", text.replace("\nrules:", LISTENERS, 1))
    isod.start()
    return isod


def curl(isod, path, body=None, *options, token=GOOD, door="hec", headers=()):
    """The status and the answer, JSON undone."""
    command = [need("curl"), "-sS", "-w", "\n%{http_code}", "--max-time", "120", *options]
    if door == "hectls":
        command += ["--cacert", isod.path("tls", "ca.pem")]
    for h in (*headers, *(["Authorization: Splunk " + token] if token else [])):
        command += ["-H", h]
    if body is not None:
        command += ["--data-binary", "@-"]
    scheme = "https" if door == "hectls" else "http"
    command.append(f"{scheme}://localhost:{isod.port(door)}/services/collector{path}")
    data = body.encode() if isinstance(body, str) else body
    done = subprocess.run(command, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(done.returncode == 0, f"curl {path}: {done.returncode} {done.stderr.decode()}")
    text, _, status = done.stdout.decode().rpartition("\n")
    try:
        return int(status), json.loads(text)
    except ValueError:
        return int(status), text


def wants(answer, status, code, **more):
    check(answer[0] == status and isinstance(answer[1], dict) and answer[1].get("code") == code
          and all(answer[1].get(k.replace("_", "-")) == v for k, v in more.items()), f"{answer}, not {status} {code} {more}")


def told(isod, text, again):
    """The log tells of it. It holds back what comes too often, so it is done again until it does."""
    def there():
        if text in isod.log():
            return True
        again()
        return False
    isod.wait(there, f"the log tells: {text}")


def good_requests(isod):
    before = isod.events("hec")
    for door in ("hec", "hectls"):
        wants(curl(isod, "/event", json.dumps({"event": GUESS % 1, "host": "web1"}), door=door), 200, 0)
    three = '{"event":"one"}\n{"event":{"a":1}} {"event":"two","time":"1700000000.5","fields":{"k":"v"}}'
    wants(curl(isod, "", three), 200, 0)
    wants(curl(isod, "/event/1.0", '[{"event":"four"},{"event":"five"}]'), 200, 0)
    wants(curl(isod, "/event", gzip.compress(three.encode()), headers=["Content-Encoding: gzip"]), 200, 0)
    wants(curl(isod, "/raw?sourcetype=linux_secure&host=web%202", "line one\r\n\nline two\n"), 200, 0)
    wants(curl(isod, "/event", '{"event":"basic"}', "-u", "x:" + GOOD, token=None), 200, 0)
    wants(curl(isod, "/event", '{"event":"chunked"}', headers=["Transfer-Encoding: chunked"]), 200, 0)
    isod.wait_events(before + 14, "hec")
    check({"hec/shipper@127.0.0.1", "hectls/shipper@127.0.0.1"} <= isod.sources().keys(), "the token names the source")
    wants(curl(isod, "/health", token=None), 200, 17)
    wants(curl(isod, "/health/1.0", token=None), 200, 17)


def acknowledgement(isod):
    body, channel = '{"event":"sure"}', ["X-Splunk-Request-Channel: " + CHANNEL]
    wants(curl(isod, "/event", body, token=ACKING), 400, 10)
    wants(curl(isod, "/event", body, token=ACKING, headers=["X-Splunk-Request-Channel: a b"]), 400, 11)
    before = isod.events("hec/sure")
    ids = []
    for _ in range(5):
        answer = curl(isod, "/event", body, token=ACKING, headers=channel)
        wants(answer, 200, 0)
        ids.append(answer[1]["ackId"])
    answer = curl(isod, "/raw?channel=" + CHANNEL, "a line", token=ACKING)
    wants(answer, 200, 0)
    ids.append(answer[1]["ackId"])
    check(len(set(ids)) == 6, f"every request has an ackId of its own: {ids}")
    open_ids = set(ids)

    def asked():
        status, told = curl(isod, "/ack?channel=" + CHANNEL, json.dumps({"acks": sorted(open_ids)}), token=ACKING)
        check(status == 200, f"/ack: {status} {told}")
        open_ids.difference_update(int(i) for i, durable in told["acks"].items() if durable)
        return not open_ids

    isod.wait(asked, "all ackIds become true")
    isod.wait_events(before + 6, "hec/sure")
    told = curl(isod, "/ack", json.dumps({"acks": ids + [999]}), token=ACKING, headers=channel)[1]
    check(told["acks"] == {str(i): False for i in ids + [999]}, f"each is told once: {told}")
    wants(curl(isod, "/ack?channel=" + CHANNEL, '{"acks":[0]}'), 400, 14)
    wants(curl(isod, "/ack?channel=" + CHANNEL, '{"acks":"x"}', token=ACKING), 400, 6)


def refusals(isod):
    before, refused = isod.events("hec"), isod.listener("hec")["refused"]
    wants(curl(isod, "/event", '{"event":"x"}', token=None), 401, 2)
    wants(curl(isod, "/event", '{"event":"x"}', token=None, headers=["Authorization: Bearer " + GOOD]), 401, 3)
    wants(curl(isod, "/event", '{"event":"x"}', token=GOOD + "x"), 403, 4)
    wants(curl(isod, "/event", '{"event":"x"}', token=GOOD[:-1]), 403, 4)
    wants(curl(isod, "/event?token=" + GOOD, '{"event":"x"}', token=None), 400, 16)
    wants(curl(isod, "/event", ""), 400, 5)
    wants(curl(isod, "/raw", "\n\n"), 400, 5)
    wants(curl(isod, "/event", '{"event":"good"}{"event":'), 400, 6, invalid_event_number=1)
    wants(curl(isod, "/event", '{"event":"good"}x'), 400, 6, invalid_event_number=1)
    wants(curl(isod, "/event", '[{"event":"a"},]'), 400, 6, invalid_event_number=1)
    wants(curl(isod, "/event", '{"event":"a"}{"host":"h"}'), 400, 12, invalid_event_number=1)
    wants(curl(isod, "/event", '{"event":""}'), 400, 13, invalid_event_number=0)
    wants(curl(isod, "/event", '{"event":"a","fields":"b"}'), 400, 15, invalid_event_number=0)
    wants(curl(isod, "/event", b'{"event":"\xff"}'), 400, 6)
    wants(curl(isod, "/event", b"no gzip", headers=["Content-Encoding: gzip"]), 400, 6)
    wants(curl(isod, "/event", gzip.compress(b'{"event":"x"}')[:-9], headers=["Content-Encoding: gzip"]), 400, 6)
    wants(curl(isod, "/event", b"x", headers=["Content-Encoding: br"]), 415, 415)
    wants(curl(isod, "/elsewhere", "x"), 404, 404)
    wants(curl(isod, "/event", None), 405, 405)
    check(isod.events("hec") == before, "nothing of it was taken, the good events beside bad ones neither")
    isod.wait(lambda: isod.listener("hec")["refused"] == refused + 19, "each is counted")
    told(isod, "refused: Invalid token", lambda: curl(isod, "/event", "x", token="wrong-token"))
    check("listener hec: 127.0.0.1:" in isod.log(), "with the peer's address")
    check(GOOD not in isod.log(), "tokens do not stand in the log")


def resident(isod):
    with open(f"/proc/{isod.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))


def bombs(isod):
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(b" " * (1 << 20)) for _ in range(200)) + packer.flush()  # 200 MiB in 200 KB
    before = resident(isod)
    for _ in range(3):
        wants(curl(isod, "/event", bomb, headers=["Content-Encoding: gzip"]), 413, 27)
    # Not like a bomb, but more than expanded_max.
    noise = gzip.compress(os.urandom(64).hex().encode() * 100_000, 1)
    wants(curl(isod, "/event", noise, headers=["Content-Encoding: gzip"]), 413, 27)
    status, _ = curl(isod, "/event", b"x" * (1 << 20))
    check(status == 413, f"a body past body_max: {status}")
    # Sanitizers keep what was freed for a while.
    room = (1024 if "san-" in BUILD else 64) * 1024
    check(resident(isod) < before + room, f"memory has grown from {before} to {resident(isod)} KiB")
    told(isod, "more than 200 times", lambda: curl(isod, "/event", bomb, headers=["Content-Encoding: gzip"]))
    told(isod, "more than expanded_max", lambda: curl(isod, "/event", noise, headers=["Content-Encoding: gzip"]))
    told(isod, "(body_max)", lambda: curl(isod, "/event", b"x" * (1 << 20)))


def raw_http(isod, data, door="hec"):
    s = socket.create_connection(("127.0.0.1", isod.port(door)), 60)
    s.sendall(data)
    return s


def closed(s):
    try:
        while s.recv(65536):
            pass
    except OSError:
        pass
    s.close()
    return True


HEAD = f"POST /services/collector/event HTTP/1.1\r\nHost: x\r\nAuthorization: Splunk {GOOD}\r\n"


def slow(isod):
    """Requests that never end, of all kinds, beside one that is served."""
    refused = isod.listener("hec")["refused"]
    stalled = [raw_http(isod, start.encode()) for start in
               ("", "POST /serv", HEAD, HEAD + "Content-Length: 100\r\n\r\n{", HEAD + "Transfer-Encoding: chunked\r\n\r\n5\r\n{")
               for _ in range(20)]
    stop = threading.Event()

    def drip():  # a byte at a time: no pause is long, the whole never comes
        s = raw_http(isod, HEAD.encode() + b"Content-Length: 100000\r\n\r\n")
        try:
            while not stop.wait(0.05):
                s.sendall(b" ")
        except OSError:
            dripped.append(True)

    dripped = []
    dripper = threading.Thread(target=drip)
    dripper.start()
    before = isod.events("hec")
    for n in range(20):
        wants(curl(isod, "/event", f'{{"event":"honest {n}"}}'), 200, 0)
    isod.wait_events(before + 20, "hec")
    for s in stalled:
        check(closed(s), "it is closed")
    isod.wait(lambda: dripped, "who sends a byte at a time is closed as well")
    stop.set()
    dripper.join()
    isod.wait(lambda: isod.listener("hec")["refused"] >= refused + len(stalled) + 1, "all of them are counted")
    told(isod, "(request_timeout)", lambda: closed(raw_http(isod, b"POST")))


def nonsense(isod):
    refused, failures = isod.listener("hec")["refused"], isod.listener("hectls")["tls_failures"]
    for text in (b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\x00" * 100 + b"\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n", HEAD.encode() + b"Content-Length: -5\r\n\r\n"):
        closed(raw_http(isod, text))
    isod.wait(lambda: isod.listener("hec")["refused"] >= refused + 3, "what is no HTTP is counted")
    closed(raw_http(isod, b"GET / HTTP/1.1\r\n\r\n", "hectls"))
    isod.wait(lambda: isod.listener("hectls")["tls_failures"] > failures, "no TLS is counted")


def pipelined(isod):
    """Several requests at once on one connection are answered in order, over TLS too."""
    before = isod.events("hectls")
    context = ssl.create_default_context(cafile=isod.path("tls", "ca.pem"))
    with context.wrap_socket(socket.create_connection(("127.0.0.1", isod.port("hectls")), 60), server_hostname="localhost") as s:
        body = b'{"event":"pipelined"}'
        request = HEAD.encode() + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        s.sendall(request * 10 + request[:-1])
        answers = b""
        while answers.count(b'"code":0') < 10:
            part = s.recv(65536)
            check(part, f"closed after {answers}")
            answers += part
        s.sendall(request[-1:])
        while answers.count(b'"code":0') < 11:
            part = s.recv(65536)
            check(part, f"closed after {answers}")
            answers += part
    isod.wait_events(before + 11, "hectls")


def killed(isod):
    """What was answered is there after a kill, and means the same."""
    def picture():
        return ({n: (s["received"], s["matched"], s["unmatched"], s["undecoded"]) for n, s in isod.sources().items() if n.startswith("hec")},
                {i["title"]: i["matches"] for i in isod.incidents() if "203.0.113.7" in i["title"]})

    before = isod.events("hec")
    for n in range(10):
        wants(curl(isod, "/event", "".join(json.dumps({"event": GUESS % 7, "host": f"web{n}", "sourcetype": "linux_secure",
                                                       "time": 1790000000 + n}) for _ in range(10))), 200, 0)
    wants(curl(isod, "/raw?host=web1", "".join(f"<38>Nov 23 18:00:00 web1 sshd[1]: {GUESS % 7}\n" for n in range(20))), 200, 0)
    wants(curl(isod, "/event", json.dumps({"event": {"product": "x", "nested": {"deep": ["a", "b"]}}})), 200, 0)
    isod.wait_events(before + 121, "hec")
    first = picture()
    check(any("203.0.113.7" in title for title in first[1]), f"guessing inside HEC events is found: {first}")
    isod.kill()
    # With an empty ledger everything comes from evidence alone.
    subprocess.run(["rm", "-rf", isod.path("state", "ledger"), isod.path("state", "snapshots")], check=True)
    isod.start()
    isod.wait(lambda: picture()[0] == first[0], f"the same from evidence: {first[0]}")
    isod.wait(lambda: picture()[1] == first[1], f"the same incidents: {first[1]}")
    wants(curl(isod, "/event", '{"event":"after"}'), 200, 0)


def shares():
    """A peer has so many connections and events and no more, as at every other door."""
    with new_isod("\nlimits: {peer_connections_max: 5, peer_events: 200}\n") as isod:
        many = [socket.create_connection(("127.0.0.1", isod.port("hec")), 60) for _ in range(8)]
        isod.wait(lambda: isod.listener("hec")["refused"] == 3, "connections past its share are refused")
        check("(peer_connections_max)" in isod.log(), "and told")
        for s in many:
            s.close()
        isod.wait(lambda: isod.listener("hec")["connections"] == 0, "they are gone")
        wants(curl(isod, "/event", '{"event":"a burst"}' * 1000), 200, 0)
        wants(curl(isod, "/event", '{"event":"more"}'), 503, 9)
        isod.wait(lambda: curl(isod, "/event", '{"event":"later"}')[0] == 200, "its share grows again")
        isod.wait_events(1001, "hec")


def scenario():
    need("curl")
    with new_isod() as isod:
        for part in (good_requests, acknowledgement, refusals, bombs, slow, nonsense, pipelined, killed):
            part(isod)
        check(isod.listener("hec")["connections"] == 0 and isod.listener("hectls")["connections"] == 0, "no connection is left")
        for s in isod.sources().values():
            check(s["received"] == s["matched"] + s["unmatched"] + s["undecoded"] + s["refused"] + s["shed"],
                  f"account of {s['source']}: {s}")
    shares()


main(scenario)
