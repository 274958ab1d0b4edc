"""What tests use of the machine beyond Python: a cluster of one node and a browser.

`python -m tests.machine` installs what is missing, as root on Debian or Ubuntu.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

SEARCHED = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/usr/local/sbin"])
PACKAGES = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "chromium": "chromium",
}
"""Program -> Debian package that has it."""


def list_missing() -> list[str]:
    """Programs that this machine lacks."""
    return [name for name in PACKAGES if not shutil.which(name, path=SEARCHED)]


def install(programs: list[str]) -> None:
    """Install programs by the packages that have them."""
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    packages = [PACKAGES[name] for name in programs]
    for command in (("update",), ("install", "--yes", "--no-install-recommends", *packages)):
        subprocess.run(["apt-get", "-qq", *command], check=True, env=quiet)


if __name__ == "__main__":
    missing = list_missing()
    if missing and (os.getuid() or not shutil.which("apt-get")):
        sys.exit(f"{', '.join(missing)}: not here, and installed by root on Debian or Ubuntu alone")
    if missing:
        install(missing)
