"""Redis is slow, out of memory, and replaced by another with things of others in it. isod ingests, detects and answers
meanwhile, and when Redis is well the view is complete, what was not isod's still there. (Killed, hung and emptied:
redis_test.py.)"""
import json
import os
import socket
import subprocess
import threading
import time

from harness import Isod, check, main, need

DELAY = 0.2
LINES = 2000


class Server:
    """A redis-server of the test's own on a unix socket."""

    def __init__(self, folder, name):
        self.dir = os.path.join(folder, name)
        os.mkdir(self.dir)
        self.socket = os.path.join(self.dir, "sock")
        self.process = None

    def start(self):
        self.process = subprocess.Popen([need("redis-server"), "--port", "0", "--unixsocket", self.socket, "--save", "",
                                         "--dir", self.dir], stdout=subprocess.DEVNULL)

    def ask(self, *command):
        return subprocess.run(["redis-cli", "-s", self.socket, *command], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True).stdout.strip()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


class Proxy:
    """What isod connects to: passes bytes on to a server, each piece after `delay` seconds."""

    def __init__(self, path):
        self.path, self.server, self.delay, self.pairs = path, None, 0, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self.server.socket)
            except OSError:
                client.close()
                continue
            self.pairs.append((client, server))
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    def pump(self, a, b):
        try:
            while piece := a.recv(1 << 16):
                time.sleep(self.delay)
                b.sendall(piece)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        for pair in self.pairs:
            for s in pair:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        self.pairs = []


def lines(begin):
    return [f"<38>Nov 23 18:00:00 web{n % 5} sshd[1]: Failed password for root from 203.0.113.{n % 200} port {n} ssh2"
            for n in range(begin, begin + LINES)]


def ship(isod):
    """A load, counted to the last line although Redis is as it is."""
    before = isod.events("tcp/")
    isod.send("--tcp", lines(before))
    isod.wait_events(before + LINES, "tcp/")
    check(isod.answers(), "isod answers")


def complete(isod, server):
    for i in isod.incidents():
        held = server.ask("HGET", f"iso:incident:{i['id']}", "json")
        if not held.startswith("{") or json.loads(held)["matches"] != i["matches"]:
            return False
    total = isod.ask("metrics", "--scope", "events", "--name", "received")[0]["total"]
    return server.ask("GET", "iso:metric:test:events:received:total") == str(total) \
        and server.ask("TYPE", "iso:incidents") == "zset" \
        and int(server.ask("ZCARD", "iso:incidents")) == len(isod.incidents()) > 0


def slow(isod, proxy, server):
    proxy.delay = DELAY
    ship(isod)
    isod.wait(lambda: complete(isod, server), "the view is complete behind a slow line")
    proxy.delay = 0


def out_of_memory(isod, server):
    check(server.ask("CONFIG", "SET", "maxmemory", "1") == "OK", "no memory any more")
    check("OOM" in server.ask("SET", "x", "y"), "writes are refused")
    ship(isod)
    isod.wait(lambda: "OOM" in isod.log(), "the log tells what Redis says")
    check(not complete(isod, server), "the view is behind")
    server.ask("CONFIG", "SET", "maxmemory", "0")
    isod.wait(lambda: complete(isod, server), "the view is complete again")


def replaced(isod, proxy, server, other):
    """Another server in its place, with keys of others and one of isod's names that is of another type."""
    other.start()
    isod.wait(lambda: other.ask("PING") == "PONG", "the other one runs")
    other.ask("SET", "somebody:else", "kept")
    other.ask("SET", "iso:incidents", "not a sorted set")
    other.ask("HSET", "iso:incident:9999", "json", "{}")
    proxy.server = other
    proxy.cut()
    server.stop()
    ship(isod)
    isod.wait(lambda: complete(isod, other), "the view is complete on the other one")
    check(other.ask("GET", "somebody:else") == "kept", "what is not isod's is left alone")
    isod.wait(lambda: other.ask("EXISTS", "iso:incident:9999") == "0", "an incident that there is not is not shown")


def scenario():
    need("redis-cli")
    need("redis-server")
    with Isod(start=False) as isod:
        server, other = Server(isod.dir, "one"), Server(isod.dir, "other")
        proxy = Proxy(isod.path("proxy.sock"))
        try:
            server.start()
            proxy.server = server
            with open(isod.path("isod.yaml")) as f:
                text = f.read()
            external = text.replace("redis: {mode: embedded}", "redis: {mode: external, url: 'unix://%s'}" % proxy.path)
            check(external != text, "the configuration has a Redis")
            isod.write("isod.yaml", external)
            isod.start()
            ship(isod)
            isod.wait(lambda: complete(isod, server), "the view is complete")
            slow(isod, proxy, server)
            out_of_memory(isod, server)
            replaced(isod, proxy, server, other)
            isod.stop()
        finally:
            server.stop()
            other.stop()


main(scenario)
