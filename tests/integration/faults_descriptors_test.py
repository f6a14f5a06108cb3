"""No file descriptors are left: accepting pauses (told once, peers wait, nobody is thrown out) and goes on by itself when
some are free. Meanwhile those who are connected are served, evidence begins new segments, and isoctl gets its answers."""
import resource
import socket

from harness import Isod, check, main

FILES = 128
PEERS = 200
LINES = 10000


def connections(isod):
    return sum(l["connections"] for l in isod.status()["listeners"])


def scenario():
    with Isod(start=False, settings="evidence:\n  segment_size: 64KiB\n") as isod:
        isod.before_exec = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
        isod.start()
        peers = [socket.create_connection(("127.0.0.1", isod.port("tcp"))) for _ in range(PEERS)]
        isod.wait(lambda: isod.counters()["ingest_accept_pauses"] > 2, "accepting pauses, and is tried again")
        check(connections(isod) < PEERS, "not all are accepted")
        told = isod.log().count("no more connections can be accepted")
        check(1 <= told <= len(isod.status()["workers"]), f"every worker tells it once, not {told} times")
        for n, peer in enumerate(peers):
            peer.sendall(b"".join(b"<30>Nov 23 18:00:00 web1 app: peer %d line %d\n" % (n, i) for i in range(LINES // PEERS)))
        served = connections(isod)
        isod.wait_events(served * (LINES // PEERS), "tcp/")
        # Those who go make room for those who wait.
        for peer in peers:
            peer.close()
        isod.wait_events(LINES, "tcp/")
        isod.wait(lambda: connections(isod) == 0, "all have gone")
        check("accepted again" in isod.log(), "the log tells that it goes on")


main(scenario)
