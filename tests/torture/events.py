"""Numbered events, the same wherever they are made: most mean nothing, some match rules, and what matches adds up to
incidents. The number is the fifth word (RFC 5424's PROCID), from 0.

Usually users, hosts and addresses are mixed, so that the order of events decides which incidents they make and what
correlations find. `apart`: each address has a user and a host of its own; then, without correlations, any order makes the
same incidents."""
import time

STEP_NS = 200_000  # a million events: 200 s
PEOPLE, HOSTS, ADDRESSES = 7, 5, 90
ADDRESSES_APART = 40  # few enough to be no storm, which is one incident for all that come after


class Events:
    def __init__(self, count, apart=False):
        self.count, self.apart = count, apart
        self.begin = time.time_ns() - count * STEP_NS // 2
        self.second, self.text = None, ""

    def stamp(self, n):
        ns = self.begin + n * STEP_NS
        if ns // 10**9 != self.second:
            self.second = ns // 10**9
            self.text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.second))
        return f"{self.text}.{ns // 1000 % 10**6:06}Z"

    def line(self, n):
        what, who = n % 1000, n // 50
        addresses, people, hosts = (ADDRESSES_APART,) * 3 if self.apart else (ADDRESSES, PEOPLE, HOSTS)
        person, host, address = f"u{who % people}", f"web{who % hosts}", f"203.0.113.{who % addresses + 1}"
        if what % 50 == 7:
            return f"<38>1 {self.stamp(n)} {host} sshd {n} - - Failed password for {person} from {address} port {n % 50000} ssh2"
        if what == 411:
            return f"<38>1 {self.stamp(n)} {host} sshd {n} - - Accepted password for {person} from {address} port {n % 50000} ssh2"
        if what == 613:
            return f"<85>1 {self.stamp(n)} {host} sudo {n} - - {person} : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/bash"
        return f"<30>1 {self.stamp(n)} web{n % HOSTS} app {n} - - GET /item/{n * 2654435761 % 2**32:x} took {n % 97} ms"

    def append(self, path, first, end):
        with open(path, "a") as f:
            f.writelines(self.line(n) + "\n" for n in range(first, end))
