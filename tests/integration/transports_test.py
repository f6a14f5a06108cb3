"""Every door takes what real clients ship, and every line becomes exactly one event: util-linux logger over TCP, UDP and
the unix socket, isoctl send over TLS, TCP, UDP and unix, IPv4 and IPv6. A file of a brute-forced sshd opens an incident
for each address that guessed, whichever way it came in."""
import re
import subprocess

from harness import Isod, check, corpus, main, need

GUESSERS = ["198.51.100.7", "203.0.113.9", "192.0.2.200"]


def own_log():
    """A day of sshd at a small server: three addresses guess, one user mistypes twice."""
    lines = []
    for second in range(40):
        for address in GUESSERS:
            lines.append(f"Dec 10 06:{50 + second // 60}:{second % 60:02} LabHost sshd[{24200 + second}]: "
                         f"Failed password for invalid user test{second % 7} from {address} port {30000 + second} ssh2")
    for second in (3, 9):
        lines.append(f"Dec 10 07:00:0{second} LabHost sshd[3]: Failed password for bob from 192.0.2.5 port 999 ssh2")
    lines.append("Dec 10 07:00:10 LabHost sshd[3]: Accepted password for bob from 192.0.2.5 port 999 ssh2")
    return lines, GUESSERS


def corpus_log(path):
    with open(path, errors="surrogateescape") as f:
        lines = [line.rstrip("\n") for line in f]
    lines = [line for line in lines if line]
    failures = {}
    for line in lines:
        m = re.search(r"Failed password for .* from (\d+\.\d+\.\d+\.\d+) ", line)
        if m:
            failures[m[1]] = failures.get(m[1], 0) + 1
    return lines, [a for a, n in failures.items() if n >= 10]


def logger(isod, door, path):
    program = need("logger")
    how = {"tcp": ["-T", "-n", "127.0.0.1", "-P", str(isod.port("tcp"))],
           "udp": ["-d", "-n", "127.0.0.1", "-P", str(isod.port("udp"))],
           "unix": ["-u", isod.address("unix")]}[door]
    subprocess.run([program, *how, "-f", path], check=True)


def incidents_of(isod, addresses):
    named = {e["name"] for i in isod.incidents() for e in i["entities"] if e["kind"] == "address"}
    return [a for a in addresses if a in named]


def every_door(lines, guessers):
    with Isod() as isod:
        path = isod.write("lines.log", "".join(line + "\n" for line in lines))
        sent = 0
        for door in ("tcp", "unix", "udp"):
            logger(isod, door, path)
            if door == "udp":  # may lose what the kernel cannot buffer: counted apart below
                break
            sent += len(lines)
            isod.wait_events(len(lines), door + "/")
        for door in ("--tls", "--tcp", "--unix"):
            already = isod.events(door[2:] + "/")
            isod.send(door, lines)
            isod.wait_events(already + len(lines), door[2:] + "/")
        isod.wait(lambda: incidents_of(isod, guessers) == guessers, "an incident for each guessing address")
        for source in isod.sources().values():
            check(source["received"] == sum(source[k] for k in ("matched", "unmatched", "undecoded", "refused", "shed")),
                  f"the account of {source['source']} does not close")
            check(source["source"].startswith("isod/") or source["undecoded"] == 0,
                  f"{source['undecoded']} lines of {source['source']} were not understood")
        # One noisy address is one incident with a count.
        check(not guessers or len(isod.incidents()) <= 3 * len(guessers) + 10, f"{len(isod.incidents())} incidents")


def udp_in_small_pieces():
    with Isod() as isod:
        lines = [f"<38>Nov 23 18:00:00 h{n} sshd[1]: Accepted password for u{n} from 192.0.2.1 port 1 ssh2"
                 for n in range(500)]
        for at in range(0, len(lines), 50):
            isod.send("--udp", lines[at:at + 50])
            isod.wait_events(at + 50, "udp/")


def ipv6():
    with Isod() as isod:
        for door in ("tls", "tcp"):
            isod.isoctl("send", "--" + door, f"[::1]:{isod.port(door)}", *(["--ca", isod.path("tls", "ca.pem")]
                        if door == "tls" else []), "-", text="Nov 23 18:00:00 six app: over IPv6\n")
            isod.wait(lambda: isod.sources().get(door + "/::1", {}).get("received") == 1, door + " over IPv6")


def scenario():
    every_door(*own_log())
    udp_in_small_pieces()
    ipv6()
    for name in ("syslog/OpenSSH_2k.log", "syslog/Linux_2k.log"):
        if corpus(name):
            lines, guessers = corpus_log(corpus(name))
            every_door(lines, guessers if "OpenSSH" in name else [])
        else:
            print(f"skipped part: no shared corpus with {name}")


main(scenario)
