"""The account of every transport closes, and tells what is in evidence: received = matched + unmatched + undecoded + refused +
shed, over TLS, TCP, UDP, the unix socket, RELP, RELP over TLS and for numbered producers; the same after kill -9, and when
kills catch RELP and a producer at work. A frame that a producer has to send again is no part of it: it was not taken."""
import os
import socket
import subprocess

from evidence_reader import LOSS, read_evidence
from harness import BUILD, Isod, check, main

LINES, MANY, KILLS = 300, 30000, 3
LISTENERS = """
  - {name: relp, kind: relp, address: "127.0.0.1:%d"}
  - {name: relptls, kind: relp-tls, address: "127.0.0.1:%d", certificate: tls/server.pem, key: tls/server.key, ca: tls/ca.pem, peers: required}
rules:"""
REASONS = ("refused_framing", "refused_empty", "shed_kernel", "shed_own_events", "shed_rate")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def librelp(port, count, *tls):
    return subprocess.Popen([os.path.join(BUILD, "clients", "librelp"), "127.0.0.1", str(port), "<13>relp line", str(count), "64", *tls],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    said = process.communicate(timeout=300)[0]
    check(process.returncode == 0, f"{process.args[0]}: exit {process.returncode}: {said}")


def totals(isod, prefix):
    sources = [s for name, s in isod.sources().items() if name.startswith(prefix)]
    return {key: sum(int(s[key]) for s in sources)
            for key in ("received", "matched", "unmatched", "undecoded", "refused", "shed", *REASONS)}


def settled(isod):
    counters = {c["name"]: int(c["value"]) for c in isod.status()["counters"]}
    return counters["ingest_workers_redetecting"] == 0 and counters["ingest_frames_untallied"] == 0


def closes(isod, prefixes):
    """Each source's account, and what evidence has of each transport."""
    isod.wait(lambda: settled(isod), "everything is counted")
    for name, s in isod.sources().items():
        check(s["received"] == s["matched"] + s["unmatched"] + s["undecoded"] + s["refused"] + s["shed"], f"{name}: {s}")
        check(s["refused"] == s["refused_framing"] + s["refused_empty"] and s["shed"] == s["shed_kernel"] + s["shed_own_events"] + s["shed_rate"],
              f"{name}: a reason is missing: {s}")
    for prefix in prefixes:
        frames = lost = 0
        for e in read_evidence(isod, prefix):
            frames, lost = frames + (not e.flags & LOSS), lost + e.lost
        t = totals(isod, prefix)
        check(t["received"] - t["refused"] - t["shed"] == frames, f"{prefix}: {frames} frames in evidence, the account has {t}")
        check(t["refused"] + t["shed"] == lost, f"{prefix}: evidence tells of {lost} that were lost, the account has {t}")


def bad_relp(isod, port):
    """A frame before open, one that ends in nonsense, one that never ends: each counted once."""
    for said, answers in ((b"1 syslog 1 x\n", b"500"), (b"1 open 0\n2 syslog 4 good\nnonsense\n", b"serverclose")):
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.settimeout(60)
            s.sendall(said)
            got = b""
            while answers not in got:
                data = s.recv(4096)
                check(data, f"closed after {got}")
                got += data
    with socket.create_connection(("127.0.0.1", port)) as s:
        s.sendall(b"1 open 0\n2 syslog 100 only the begin")
    isod.wait(lambda: totals(isod, "relp/")["refused_framing"] == 3, "what RELP refuses is counted")


def every_transport(isod, ports):
    lines = [f"<13>Nov 23 18:00:00 web1 app: line {n}" for n in range(LINES)]
    for door in ("--tls", "--tcp", "--udp", "--unix"):
        isod.send(door, lines)
    isod.isoctl("send", "--producer", "web", "--source", "10.0.0.9", "-", text="".join(l + "\n" for l in lines))
    again = isod.isoctl("send", "--producer", "web", "--first", "1", "-", text="".join(l + "\n" for l in lines)).stdout
    check(f"{LINES} were known already" in again, again)
    finish(librelp(ports[0], LINES))
    finish(librelp(ports[1], LINES, isod.path("tls", "ca.pem"), isod.path("tls", "client.pem"), isod.path("tls", "client.key"),
                   "localhost"))
    bad_relp(isod, ports[0])
    wanted = {"tls/": LINES, "tcp/": LINES, "udp/": LINES, "unix/": LINES, "producer/": LINES, "relptls/": LINES,
              "relp/": LINES + 1 + 3}
    for prefix, count in wanted.items():
        isod.wait(lambda: totals(isod, prefix)["received"] >= count, f"{prefix}: {count} of them")
        check(totals(isod, prefix)["received"] == count, f"{prefix}: {totals(isod, prefix)}")
    return list(wanted)


def killed_at_work(isod, port):
    before = totals(isod, "relp/")["received"]
    path = isod.write("lines", "".join(f"<13>Nov 23 18:00:00 web1 app: numbered {n}\n" for n in range(MANY)))
    producer = subprocess.Popen([os.path.join(BUILD, "isoctl"), "--socket", isod.path("isod.sock"), "send", "--producer", "busy", path],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    relp = librelp(port, MANY)
    caught = 0
    for kill in range(1, KILLS + 1):
        goal = before + kill * MANY // (KILLS + 2)
        isod.wait(lambda: totals(isod, "relp/")["received"] >= goal or relp.poll() is not None, "some more arrive")
        caught += relp.poll() is None
        isod.kill()
        isod.start()
    finish(producer)
    finish(relp)
    check(caught, "a kill met frames on their way")
    isod.wait(lambda: settled(isod), "everything is counted")
    check(totals(isod, "producer/busy")["received"] == MANY, f"numbered: each once: {totals(isod, 'producer/busy')}")
    check(totals(isod, "relp/")["received"] >= before + MANY, "RELP: each at least once")


def turned_away(isod):
    """Connections past a limit: counted by their reason in status and metrics."""
    isod.stop()
    with open(isod.path("isod.yaml"), "a") as f:
        f.write("limits: {connections_max: 2}\n")
    isod.start()
    peers = [socket.create_connection(("127.0.0.1", isod.port("tcp"))) for _ in range(5)]
    tcp = lambda: next(l for l in isod.status()["listeners"] if l["name"] == "tcp")
    isod.wait(lambda: tcp()["refused_connections_max"] == 3, "three of five find no place")
    check(tcp()["refused"] == 3 and tcp()["connections"] == 2 and tcp()["refused_peer_connects"] == 0, f"{tcp()}")
    check("connections_max 3" in isod.isoctl("status").stdout, "isoctl tells why")
    metrics = isod.isoctl("metrics", "--prometheus").stdout
    check('isod_listener_connections_refused_total{listener="tcp",reason="connections_max"} 3\n' in metrics, metrics)
    for peer in peers:
        peer.close()


def scenario():
    ports = free_ports(2)
    with Isod(start=False) as isod:
        with open(isod.path("isod.yaml")) as f:
            text = f.read().replace("\nrules:", LISTENERS % tuple(ports), 1)
        isod.write("isod.yaml", text)
        isod.start()
        prefixes = every_transport(isod, ports)
        closes(isod, prefixes)
        before = {prefix: totals(isod, prefix) for prefix in prefixes}
        isod.kill()
        isod.start()
        closes(isod, prefixes)
        check({prefix: totals(isod, prefix) for prefix in prefixes} == before, "the account is the same after kill -9")
        killed_at_work(isod, ports[0])
        closes(isod, prefixes)
        turned_away(isod)


main(scenario)
