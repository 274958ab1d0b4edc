"""Fresh processes, and what each took.

They are started by a small process of their own: Linux counts what a process held before it became
another program, and this one holds much.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LAUNCHER = """
import json, os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
taken = usage.ru_utime + usage.ru_stime, usage.ru_maxrss
print(json.dumps((os.waitstatus_to_exitcode(status), *taken)))
"""


class Cost(NamedTuple):
    """What a process took: seconds of processor time, and the most memory that it held, MB.

    Processor time, since machines are shared; what it waits for files is not in it.
    """

    seconds: float
    memory: float


def run_fresh(command: list[str], folder: Path) -> Cost:
    """Run a command to its end and see what it took.

    Raises
    ------
    CalledProcessError
        It failed; its words are on standard error.
    """
    launched = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command],
        cwd=folder,
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        check=True,
    )
    code, seconds, kilobytes = json.loads(launched.stdout)
    if code:
        raise subprocess.CalledProcessError(code, command)
    return Cost(seconds, kilobytes * 1024 / 1e6)
