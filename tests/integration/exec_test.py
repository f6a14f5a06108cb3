#!/usr/bin/python3
"""The exec plugin with real programs: what they are given, what their end means, and that a program that hangs, floods
or forks neither blocks the plugin nor outlives it."""
import json
import os
import signal
import time
import unittest

import plugin_driver
from plugin_driver import DELIVERED, FAILED, RETRY, FOLDER, Plugin, sample_incident, setup_error, write_file

EXEC = os.path.join(plugin_driver.BUILD, "plugins", "exec")


def script(name, text):
    return write_file(name, "#!/bin/sh\n" + text, 0o755)


def read(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return f.read()


def wait_for(condition, what):
    until = time.monotonic() + plugin_driver.PATIENCE
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def is_gone(pid):
    """No process of this number runs (it may still be somebody's zombie)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except FileNotFoundError:
        return True


class Exec(unittest.TestCase):
    def run_alert(self, text, incident=None, **options):
        with Plugin(EXEC, {"program": script("program", text), **options}) as p:
            answer = p.alert("node1:3:9", incident)
        self.assertEqual(p.status, 0)
        return answer

    def test_each_unusable_option_is_named(self):
        program = script("ok", "exit 0\n")
        plain = write_file("plain", "no program\n")
        cases = [
            ({}, "option program: is missing"),
            ({"program": "sh"}, "option program: no absolute path"),
            ({"program": "/nowhere"}, "option program: cannot run /nowhere: No such file or directory"),
            ({"program": "/tmp"}, "option program: /tmp is no file"),
            ({"program": plain}, f"option program: cannot run {plain}: Permission denied"),
            ({"program": program, "arg": "x"}, 'unknown option "arg"; did you mean "args"?'),
            ({"program": program, "timeout": "x"}, 'option timeout: no duration such as "10s" or "1m"'),
            ({"program": program, "args": "a 'b"}, "option args: a quote is not closed"),
            ({"program": program, "args": "a " * 300}, "option args: more than 255 words"),
            ({"program": program, "env.A=B": "x"}, "option env.A=B: no name for a variable"),
            ({"program": program, "env.1": "x"}, "option env.1: no name for a variable"),
        ]
        for options, expected in cases:
            with self.subTest(expected):
                self.assertEqual(setup_error(EXEC, **options), expected)

    def test_the_alert_is_json_on_standard_input(self):
        answer = self.run_alert("cat > alert.json; env > env.txt; pwd > pwd.txt; ls /proc/self/fd > fds.txt\n",
                                sample_incident(title='a "quoted"\ntitle'), env__TOKEN="s3cret", env__PATH="/bin")
        self.assertEqual(answer, (DELIVERED, "exit 0"))
        told = json.loads(read("alert.json"))
        self.assertEqual(told["key"], "node1:3:9")
        self.assertEqual(told["incident"]["title"], 'a "quoted"\ntitle')
        self.assertEqual(told["incident"]["severity"], "high")
        env = dict(line.split("=", 1) for line in read("env.txt").splitlines())
        for name in ("PWD", "OLDPWD", "SHLVL", "_"):  # the shell's own
            env.pop(name, None)
        self.assertEqual(env, {"PATH": "/bin", "LANG": "C.UTF-8", "TOKEN": "s3cret", "ISOD_KEY": "node1:3:9",
                               "ISOD_ATTEMPT": "1", "ISOD_REASON": "opened", "ISOD_INCIDENT": "12",
                               "ISOD_SEVERITY": "high"})
        self.assertEqual(read("pwd.txt").strip(), os.path.realpath(FOLDER))
        self.assertEqual(read("fds.txt").split(), ["0", "1", "2", "3"])  # 3 is the folder itself

    def test_arguments(self):
        self.run_alert('printf "<%s>" "$@" > args.txt\n', args="""--to a@b 'single "quoted"' "dou\\"ble $HOME" a\\ b '' x''y""")
        self.assertEqual(read("args.txt"), """<--to><a@b><single "quoted"><dou"ble $HOME><a b><><xy>""")

    def test_each_exit_status_has_its_outcome(self):
        cases = [(0, DELIVERED), (1, RETRY), (2, RETRY), (64, FAILED), (65, FAILED), (67, FAILED), (69, RETRY),
                 (70, FAILED), (71, RETRY), (74, RETRY), (75, RETRY), (77, FAILED), (78, FAILED), (126, RETRY),
                 (127, RETRY), (255, RETRY)]
        for status, outcome in cases:
            with self.subTest(status):
                self.assertEqual(self.run_alert(f"exit {status}\n"), (outcome, f"exit {status}"))

    def test_a_signal_is_told(self):
        self.assertEqual(self.run_alert("kill -9 $$\n"), (RETRY, "signal 9"))

    def test_the_last_line_of_errors_is_the_detail(self):
        self.assertEqual(self.run_alert("echo one >&2; printf 'two \\033\\377\\n' >&2; exit 75\n"),
                         (RETRY, "exit 75: two \\x1b\\xff"))
        self.assertEqual(self.run_alert("printf 'no line end' >&2; exit 65\n"), (FAILED, "exit 65: no line end"))
        outcome, detail = self.run_alert("head -c 100000 /dev/zero | tr '\\0' x >&2; exit 75\n")
        self.assertEqual(outcome, RETRY)
        self.assertLess(len(detail), 500)

    def test_a_program_that_hangs_is_killed_with_all_it_started(self):
        outcome, detail = self.run_alert(
            "trap '' TERM; (trap '' TERM; echo $$ > shell.pid; exec sleep 1000) & echo $! > sleep.pid; "
            "echo waiting >&2; while :; do wait; done\n", timeout="500ms")
        self.assertEqual((outcome, detail), (RETRY, "the program did not end within 0.5 s: waiting"))
        for name in ("shell.pid", "sleep.pid"):
            pid = int(read(name))
            wait_for(lambda pid=pid: is_gone(pid), name)

    def test_a_child_that_is_left_behind_holds_nothing_up(self):
        outcome, detail = self.run_alert("sleep 1000 & echo $! > left.pid; exit 0\n", timeout="1m")
        self.assertEqual((outcome, detail), (DELIVERED, "exit 0"))
        wait_for(lambda: is_gone(int(read("left.pid"))), "the child")

    def test_a_flood_of_output_is_bounded(self):
        flood = "head -c 30000000 /dev/zero; head -c 30000000 /dev/zero >&2; echo >&2; echo end >&2\n"
        self.assertEqual(self.run_alert(flood, timeout="1m"), (DELIVERED, "exit 0: end"))

    def test_a_program_need_not_read_its_input(self):
        i = sample_incident()
        for n in range(1000):
            i.timeline.add(time_ns=n, text="x" * 500)
        self.assertEqual(self.run_alert("exec <&-; exit 0\n", i), (DELIVERED, "exit 0"))
        self.assertEqual(self.run_alert("cat > big.json\n", i), (DELIVERED, "exit 0"))
        self.assertEqual(len(json.loads(read("big.json"))["incident"]["timeline"]), 1001)

    def test_a_program_that_goes_away_between_alerts(self):
        path = script("program", "exit 0\n")
        with Plugin(EXEC, {"program": path}) as p:
            self.assertEqual(p.alert()[0], DELIVERED)
            os.unlink(path)
            outcome, detail = p.alert()
            self.assertEqual((outcome, detail),
                             (RETRY, f"exit 127: cannot run {path}: No such file or directory"))
            script("program", "exit 0\n")
            self.assertEqual(p.alert()[0], DELIVERED)

    def test_alerts_sent_together_are_each_answered(self):
        keys = [f"node1:{n}:1" for n in range(1, 21)]
        with Plugin(EXEC, {"program": script("program", "exit 0\n")}) as p:
            for key in keys:
                p.send_alert(key)
            p.process.stdin.close()
            self.assertEqual([p.receive_answer().key for _ in keys], keys)
        self.assertEqual(p.status, 0)

    def test_stopping_the_plugin_stops_its_program(self):
        with Plugin(EXEC, {"program": script("program", "echo $$ > running.pid; sleep 1000; exit 0\n"),
                           "timeout": "10m"}) as p:
            p.send_alert()
            path = os.path.join(FOLDER, "running.pid")
            wait_for(lambda: os.path.exists(path) and read("running.pid").strip(), "the program")
            pid = int(read("running.pid"))
            self.assertFalse(is_gone(pid))
            p.process.send_signal(signal.SIGTERM)
            wait_for(lambda: is_gone(pid), "its end")
        self.assertEqual(p.status, 128 + signal.SIGTERM)


if __name__ == "__main__":
    unittest.main()
