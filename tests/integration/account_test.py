"""Nothing vanishes: per source, received = matched + unmatched + undecoded + refused + shed, each refusal and each shedding
with its reason; in isoctl status, in the view and as Prometheus metrics, and the same after kill -9. Datagrams are counted
to the last one, also those that the kernel dropped while isod stood still."""
import re
import signal
import socket

from harness import Isod, check, main

DATAGRAMS = 20000


def closes(s):
    return s["received"] == s["matched"] + s["unmatched"] + s["undecoded"] + s["refused"] + s["shed"]


def small_buffer(isod):
    """The kernel may hold a few hundred datagrams."""
    with open(isod.path("isod.yaml")) as f:
        text = f.read()
    changed = text.replace("kind: udp,", "kind: udp, receive_buffer: 256KiB,")
    check(changed != text, "the configuration has a UDP listener")
    isod.write("isod.yaml", changed)


def total(isod, prefix, what):
    return sum(s[what] for name, s in isod.sources().items() if name.startswith(prefix))


def flood(isod, udp, count):
    """Datagrams into a socket that nobody reads, then it is read."""
    isod.process.send_signal(signal.SIGSTOP)
    for n in range(count):
        udp.send(b"<30>Nov 23 18:00:00 web1 app: datagram %d" % n)
    isod.process.send_signal(signal.SIGCONT)


def every_datagram(isod):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect(("127.0.0.1", isod.port("udp")))
        for round in (1, 2):
            flood(isod, udp, DATAGRAMS)
            isod.wait(lambda: total(isod, "udp/", "received") == round * DATAGRAMS, "every datagram is in the account")
        shed = isod.sources()["udp/(kernel)"]
        check(shed["shed"] == shed["shed_kernel"] == shed["received"] > 0, "the kernel's drops have their account")
        check(total(isod, "udp/", "matched") + total(isod, "udp/", "unmatched") + shed["shed"] == 2 * DATAGRAMS,
              "the rest became events")
        for _ in range(7):
            udp.send(b"\n")
        isod.wait(lambda: isod.sources()["udp/127.0.0.1"]["refused_empty"] == 7, "empty datagrams are refused")


def lost_framing(isod):
    for n in range(3):
        with socket.create_connection(("127.0.0.1", isod.port("tcp"))) as tcp:
            tcp.sendall(b"<13>good\n999999999 <13>a lie\n")
            check(tcp.recv(1) == b"", "the connection is closed")
    isod.wait(lambda: isod.sources().get("tcp/127.0.0.1", {}).get("refused_framing") == 3, "lost framing is counted")


def parse_metrics(text):
    """{name{labels}: value}; every line must be one of the format's."""
    families, samples, family = {}, {}, None
    for line in text.splitlines():
        m = re.fullmatch(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)", line)
        if m:
            if m[1] == "TYPE":
                check(m[2] not in families, f"two families {m[2]}")
                check(m[3] in ("counter", "gauge", "histogram", "untyped"), line)
                families[m[2]] = m[3]
                family = m[2]
            continue
        m = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)+\})? '
                         r"(-?\d+(?:\.\d+)?)", line)
        check(m, f"no sample: {line}")
        parts = ("_bucket", "_sum", "_count") if families[family] == "histogram" else ("",)
        check(m[1] in [family + part for part in parts], f"{line} stands in the family {family}")
        check(m[1] + (m[2] or "") not in samples, f"twice: {line}")
        samples[m[1] + (m[2] or "")] = float(m[3])
    return samples


def shown_everywhere(isod):
    sources = isod.sources()
    metrics = parse_metrics(isod.isoctl("metrics", "--prometheus").stdout)
    table = isod.isoctl("status", "--sources").stdout
    for name, s in sources.items():
        check(closes(s), f"the account of {name} does not close: {s}")
        row = next((line for line in table.splitlines() if line.endswith("  " + name)), "")
        check("✓" in row, f"no good row of {name} in:\n{table}")
    check(metrics["isod_account_difference"] == 0, "the metrics close")
    kernel, tcp = sources["udp/(kernel)"], sources["tcp/127.0.0.1"]
    check(metrics['isod_source_shed_total{source="udp/(kernel)",reason="kernel"}'] == kernel["shed"], "shed in metrics")
    check(metrics['isod_source_refused_total{source="tcp/127.0.0.1",reason="framing"}'] == 3, "refused in metrics")
    check(metrics['isod_source_received_total{source="tcp/127.0.0.1"}'] == tcp["received"] == 6, "received in metrics")
    check(f"kernel {kernel['shed']}" in table and "framing 3" in table and "all sources" in table, table)

    def in_view():
        key = "iso:source:test:udp/(kernel)"
        return isod.redis("HGET", key, "shed_kernel").strip() == isod.redis("HGET", key, "received").strip() \
            == str(kernel["shed"])
    isod.wait(in_view, "the account is in the view")
    return {name: {k: v for k, v in s.items() if k not in ("first_received_ns", "last_received_ns", "clock_skew_ns")}
            for name, s in sources.items() if not name.startswith("isod/")}


def settled(isod):
    counters = {c["name"]: c["value"] for c in isod.status()["counters"]}
    return counters["ingest_workers_redetecting"] == 0 and counters["ingest_frames_untallied"] == 0


def few_are_told_apart(isod):
    """Past metrics.sources_max all sources are one."""
    isod.stop()
    with open(isod.path("isod.yaml"), "a") as f:
        f.write("metrics:\n  sources_max: 1\n")
    isod.start()
    isod.wait(lambda: settled(isod), "start")
    metrics = parse_metrics(isod.isoctl("metrics", "--prometheus").stdout)
    told = [name for name in metrics if name.startswith("isod_source_received_total")]
    check(len(told) == 2 and 'isod_source_received_total{source="(other)"}' in told, f"{told}")
    check(sum(metrics[name] for name in told) == total(isod, "", "received"), "the sum is that of all sources")


def scenario():
    with Isod(start=False) as isod:
        small_buffer(isod)
        isod.start()
        every_datagram(isod)
        lost_framing(isod)
        isod.wait(lambda: settled(isod), "all is counted")
        before = shown_everywhere(isod)
        isod.kill()
        isod.start()
        isod.wait(lambda: settled(isod), "re-detection ends")
        check(shown_everywhere(isod) == before, "the account is the same after kill -9")

        # Killed before the ledger knew: refusals are in evidence like frames.
        with socket.create_connection(("127.0.0.1", isod.port("tcp"))) as tcp:
            tcp.sendall(b"<13>good\n999999999 <13>a lie\n")
            check(tcp.recv(1) == b"", "the connection is closed")
        isod.kill()
        isod.start()
        isod.wait(lambda: settled(isod), "re-detection ends")
        tcp = isod.sources()["tcp/127.0.0.1"]
        check(tcp["refused_framing"] in (3, 4) and tcp["received"] - tcp["refused"] in (3, 4) and closes(tcp), str(tcp))
        few_are_told_apart(isod)


main(scenario)
