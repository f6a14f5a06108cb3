"""The limits at the door, each with another peer that is served meanwhile: places and connects of one address, a rate for
streams (which wait) and for datagrams (which are shed, and counted), frames that never end, the memory that these take."""
import socket

from harness import Isod, check, ended, main

OTHER = "127.0.0.2"  # another address of this machine: another peer
LINE = b"<30>Nov 23 18:00:00 web1 app: line %d of the one who behaves\n"


def connect(isod, source="127.0.0.1", listener="tcp"):
    return socket.create_connection((socket.gethostbyname("localhost"), isod.port(listener)), source_address=(source, 0))


def other_is_served(isod, count=100):
    before = isod.events(f"tcp/{OTHER}")
    with connect(isod, OTHER) as peer:
        peer.sendall(b"".join(LINE % i for i in range(count)))
    isod.wait_events(before + count, f"tcp/{OTHER}")


def limits(text):
    return Isod(settings="limits:\n" + text)


def places():
    with limits("  peer_connections_max: 3\n") as isod:
        peers = [connect(isod) for _ in range(5)]
        isod.wait(lambda: isod.listener("tcp")["refused"] == 2, "two of five are refused")
        check(sum(ended(p) for p in peers[3:]) == 2, "the last two are closed")
        other_is_served(isod)
        check("peer_connections_max" in isod.log(), "the log names the limit")
        for peer in peers:
            peer.close()
        isod.wait(lambda: isod.listener("tcp")["connections"] == 0, "the places are free again")
        with connect(isod) as peer:
            peer.sendall(LINE % 1)
        isod.wait_events(1, "tcp/127.0.0.1")


def connects():
    with limits("  peer_connects: 10\n") as isod:
        for _ in range(300):
            with connect(isod):
                pass
        isod.wait(lambda: sum(isod.listener("tcp")[k] for k in ("refused", "accepted")) == 300, "all 300 are seen")
        check(isod.listener("tcp")["refused"] > 0, "some of them are too many")
        check("peer_connects" in isod.log(), "the log names the limit")
        other_is_served(isod)


def rate_of_streams():
    with limits("  peer_events: 1000\n") as isod:
        lines = b"".join(LINE % i for i in range(3000))
        with connect(isod) as peer:
            peer.sendall(lines)
            isod.wait(lambda: isod.listener("tcp")["held_back"] > 0, "the stream is held back")
            other_is_served(isod)
        isod.wait_events(3000, "tcp/127.0.0.1")


def rate_of_datagrams():
    with limits("  peer_events: 100\n") as isod:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loud, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as quiet:
            quiet.bind((OTHER, 0))
            for i in range(2000):
                loud.sendto(LINE % i, ("127.0.0.1", isod.port("udp")))
            for i in range(50):
                quiet.sendto(LINE % i, ("127.0.0.1", isod.port("udp")))

        def counted():
            sources = isod.sources()
            s = sources.get("udp/127.0.0.1", {})
            return s.get("received") == 2000 and sources.get(f"udp/{OTHER}", {}).get("received") == 50
        isod.wait(counted, "every datagram is in the account")
        s = isod.sources()["udp/127.0.0.1"]
        check(1800 > s["unmatched"] >= 100 and s["shed"] == s["shed_rate"] == 2000 - s["unmatched"], f"some were shed for the rate, no other reason: {s}")


def unfinished_frames():
    with limits("  frame_timeout: 500ms\n") as isod:
        with connect(isod) as peer:
            peer.sendall(LINE % 1 + b"<30>Nov 23 18:00:00 web1 app: never en")
            other_is_served(isod)
            check(ended(peer), "the connection is closed")
        isod.wait_events(2, "tcp/127.0.0.1")
        check(isod.sources()["tcp/127.0.0.1"]["truncated"] == 1, "what came of the frame was taken, as cut")
        # One that is between two frames is left alone, whatever the frame timeout.
        with connect(isod) as quiet, connect(isod) as loud:
            quiet.sendall(LINE % 1)
            loud.sendall(b"<30>Nov 23 18:00:00 web1 app: never en")
            check(ended(loud), "the unfinished one is closed")
            quiet.sendall(LINE % 2)
            isod.wait_events(5, "tcp/127.0.0.1")


def memory():
    with limits("  frame_max: 1MiB\n  memory_max: 4MiB\n  frame_timeout: 1d\n") as isod:
        greedy = [connect(isod) for _ in range(8)]
        for peer in greedy:
            try:
                peer.sendall(b"x" * ((1 << 20) - 1000))
            except ConnectionError:
                pass
        isod.wait(lambda: "memory_max" in isod.log(), "the memory of unfinished frames has a limit")
        other_is_served(isod)
        isod.wait(lambda: 0 < isod.listener("tcp")["connections"] <= 4, "the oldest have gone, the newest are there")
        for peer in greedy:
            peer.close()
        isod.wait_events(8, "tcp/127.0.0.1")


def even():
    """However the kernel hashes them: as many connections with each worker."""
    with Isod(settings="workers: 2\n") as isod:
        peers = [connect(isod) for _ in range(8)]
        isod.wait(lambda: isod.listener("tcp")["connections"] == 8, "all eight are open")
        for n, peer in enumerate(peers):
            peer.sendall(LINE % n)
        isod.wait_events(8, "tcp/")
        before = {w["worker"]: w["evidence"] for w in isod.status()["workers"]}
        for peer in peers:
            peer.sendall(b"".join(LINE % i for i in range(1000)))
        isod.wait_events(8008, "tcp/")
        after = {w["worker"]: w["evidence"] for w in isod.status()["workers"]}
        taken = sorted(after[w] - before[w] for w in after)
        check(taken[0] >= 4000 and taken[1] - taken[0] < 100, f"both workers have taken about the same: {taken}")
        for peer in peers:
            peer.close()


def scenario():
    for part in (places, connects, rate_of_streams, rate_of_datagrams, unfinished_frames, memory, even):
        part()


main(scenario)
