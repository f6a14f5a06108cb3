"""The officer's core comes to the same books however often it is killed: a few seeds of `make simulate`."""
import os
import subprocess

from harness import BUILD, check, main


def scenario():
    done = subprocess.run([os.path.join(BUILD, "simulate"), "--seeds", "8", "--steps", "800"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(done.stdout)
    check(done.returncode == 0 and " 0 differ" in done.stdout, "no seed differs: " + done.stdout)
    check(" 0 kills" not in done.stdout, "the simulation kills")


main(scenario)
