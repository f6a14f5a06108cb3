"""The units: systemd finds nothing wrong with them, and little that the service could do beyond its work."""
import os
import re
import subprocess
import tempfile

from harness import BUILD, TOP, check, main, need

EXPOSURE_MAX = 1.5  # of 10, as `systemd-analyze security` counts


def analyze(*arguments):
    return subprocess.run([need("systemd-analyze"), *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "SYSTEMD_COLORS": "0"})


def verify(units):
    """The units as they will be installed, but with the programs of this build, as only those can be run here."""
    with tempfile.TemporaryDirectory(prefix="isod-test-") as folder:
        paths = []
        for unit in units:
            with open(os.path.join(TOP, "systemd", unit)) as f:
                text = f.read().replace("/usr/bin/isod", os.path.join(BUILD, "isod"))
            paths.append(os.path.join(folder, unit))
            with open(paths[-1], "w") as f:
                f.write(text)
        done = analyze("verify", "--man=no", *paths)
        check(done.returncode == 0 and not done.stdout.strip(), f"systemd-analyze verify: {done.stdout}")


def scenario():
    verify([u for u in sorted(os.listdir(os.path.join(TOP, "systemd"))) if u.endswith((".service", ".socket"))])
    done = analyze("security", "--offline=true", os.path.join(TOP, "systemd", "isod.service"))
    level = re.search(r"exposure level for isod.service: ([0-9.]+)", done.stdout)
    check(level and float(level[1]) <= EXPOSURE_MAX, f"systemd-analyze security: {done.stdout}")
    print("exposure " + level[1])


main(scenario)
