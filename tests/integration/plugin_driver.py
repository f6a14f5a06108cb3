"""Plays isod's side of the conversation with a plugin (proto/plugin.proto), with Google's protobuf runtime: an
implementation of the schema and of its delimiting that shares nothing with isod's."""
import atexit
import importlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(TOP, os.environ.get("BUILD", "build"))
PATIENCE = 60  # seconds, for a machine that is very busy

FOLDER = tempfile.mkdtemp(prefix="isod-plugins-")
atexit.register(shutil.rmtree, FOLDER, True)
subprocess.run(["protoc", f"--proto_path={TOP}/proto", f"--python_out={FOLDER}", "event.proto", "incident.proto",
                "ledger.proto", "plugin.proto"], check=True)
sys.path.insert(0, FOLDER)
plugin_pb2 = importlib.import_module("plugin_pb2")
incident_pb2 = importlib.import_module("incident_pb2")
event_pb2 = importlib.import_module("event_pb2")
ledger_pb2 = importlib.import_module("ledger_pb2")
DELIVERED = ledger_pb2.PLUGIN_OUTCOME_DELIVERED
RETRY = ledger_pb2.PLUGIN_OUTCOME_RETRY
FAILED = ledger_pb2.PLUGIN_OUTCOME_FAILED


def varint(n):
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def write_file(name, text, mode=0o644):
    path = os.path.join(FOLDER, name)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def sample_incident(**changes):
    """An incident with something in every corner."""
    ns = 1_700_000_000_000_000_000
    i = incident_pb2.Incident(
        id=12, state=incident_pb2.INCIDENT_DETECTED, severity=event_pb2.LEVEL_HIGH, title="Password guessing",
        opened_ns=ns, changed_ns=ns, first_ns=ns, last_ns=ns + 90 * 10**9, matches=31,
        tactics=["credential-access", "privilege-escalation"], techniques=["T1110"])
    i.entities.add(kind=event_pb2.ENTITY_USER, name="alice@web1")
    i.entities.add(kind=event_pb2.ENTITY_ADDRESS, name="192.0.2.7")
    i.entities.add(kind=event_pb2.ENTITY_HOST, name="web1")
    i.rules.add(rule="r1", title="Failed logons", level=event_pb2.LEVEL_MEDIUM, count=30)
    i.timeline.add(time_ns=ns, text="Failed password for alice", rule="r1", count=30)
    i.evidence.add(worker=1, sequence=77)
    for name, value in changes.items():
        setattr(i, name, value)
    return i


class Plugin:
    """One running plugin. `with Plugin(program) as p: p.setup(...); p.alert(...)`"""

    def __init__(self, command, options=None, name="test"):
        self.command = command if isinstance(command, list) else [command]
        self.options = options
        self.name = name
        self.pending = b""

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0,
            cwd=FOLDER, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}, start_new_session=True)
        if self.options is not None:
            error = self.setup(**self.options)
            assert error == "", error
        return self

    def __exit__(self, *_):
        """Ends its input; it must end then, in order."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        try:
            self.status = self.process.wait(PATIENCE)
            self.errors = self.process.stderr.read().decode()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stdout.close()
            self.process.stderr.close()

    def send(self, message):
        data = message.SerializeToString()
        self.process.stdin.write(varint(len(data)) + data)

    def _take(self, wanted, until):
        while len(self.pending) < wanted:
            left = until - time.monotonic()
            assert left > 0, "no answer"
            if select.select([self.process.stdout], [], [], left)[0]:
                data = os.read(self.process.stdout.fileno(), 65536)
                assert data, "the plugin closed its output; it said: " + self.process.stderr.read().decode()
                self.pending += data

    def receive(self):
        until = time.monotonic() + PATIENCE
        n = shift = 0
        while True:
            self._take(1, until)
            byte, self.pending = self.pending[0], self.pending[1:]
            n |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        self._take(n, until)
        message = plugin_pb2.FromPlugin.FromString(self.pending[:n])
        self.pending = self.pending[n:]
        return message

    def setup(self, protocol=1, **options):
        """Its error, empty when it is ready. Keywords use "__" for the dot of an option's name."""
        m = plugin_pb2.ToPlugin()
        m.setup.protocol = protocol
        m.setup.name = self.name
        for name, value in options.items():
            m.setup.options[name.replace("__", ".")] = value
        self.send(m)
        answer = self.receive()
        assert answer.WhichOneof("body") == "ready", answer
        return answer.ready.error

    def send_alert(self, key="node1:1:17", incident=None, **fields):
        m = plugin_pb2.ToPlugin()
        m.alert.CopyFrom(plugin_pb2.PluginAlert(key=key, attempt=fields.pop("attempt", 1), reason="opened",
                                                node="node1", **fields))
        m.alert.incident.CopyFrom(incident if incident is not None else sample_incident())
        self.send(m)

    def receive_answer(self):
        answer = self.receive()
        assert answer.WhichOneof("body") == "answer", answer
        return answer.answer

    def alert(self, key="node1:1:17", incident=None, **fields):
        """(outcome, detail)"""
        self.send_alert(key, incident, **fields)
        answer = self.receive_answer()
        assert answer.key == key
        return answer.outcome, answer.detail


def setup_error(plugin, **options):
    with Plugin(plugin) as p:
        return p.setup(**options)
