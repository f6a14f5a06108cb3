#!/usr/bin/python3
"""The two plugins that plugins/README.md prints are complete: taken out of it as they stand, the one in C built with
nothing but plugin.c and the library, both do what the text around them says."""
import os
import re
import subprocess
import unittest

import plugin_driver
from plugin_driver import BUILD, DELIVERED, FOLDER, RETRY, TOP, Plugin, setup_error, write_file


def example(language, mark):
    with open(os.path.join(TOP, "plugins", "README.md"), encoding="utf-8") as f:
        blocks = re.findall(rf"^```{language}\n(.*?)^```$", f.read(), re.M | re.S)
    return next(b for b in blocks if mark in b)


def pkg_config(*args):
    return subprocess.run(["pkg-config", *args], check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def build_c(source, program):
    sanitize = re.search(r"san-(.*)$", BUILD)
    flags = ["-fsanitize=" + sanitize[1].replace("-", ",")] if sanitize else []
    subprocess.run([os.environ.get("CC", "gcc"), "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", *flags,
                    f"-I{TOP}/plugins", f"-I{TOP}/daemon", f"-I{BUILD}/gen", "-o", program, source,
                    f"{TOP}/plugins/plugin.c", f"{BUILD}/libisod.a", *pkg_config("--libs", "libprotobuf-c", "openssl")],
                   check=True)


class Examples(unittest.TestCase):
    def check(self, program):
        path = os.path.join(FOLDER, "alerts")
        self.assertEqual(setup_error(program), "option file: is missing")
        if os.path.exists(path):
            os.unlink(path)
        with Plugin(program, {"file": path}) as p:
            self.assertEqual(p.alert("k1"), (DELIVERED, ""))
            self.assertEqual(p.alert("k2"), (DELIVERED, ""))
        self.assertEqual(p.status, 0)
        with open(path, encoding="utf-8") as f:
            self.assertEqual(f.read(), "k1 Password guessing\nk2 Password guessing\n")
        with Plugin(program, {"file": "/nowhere/alerts"}) as p:
            outcome, detail = p.alert("k3")
            self.assertEqual(outcome, RETRY)
            self.assertIn("No such file or directory", detail)

    def test_python(self):
        self.check(write_file("example.py", example("python", "import ledger_pb2"), 0o755))

    def test_c(self):
        source = write_file("example.c", example("c", "plugin_main"))
        build_c(source, os.path.join(FOLDER, "example"))
        self.check(os.path.join(FOLDER, "example"))


if __name__ == "__main__":
    unittest.main()
