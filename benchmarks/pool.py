"""The worker processes of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contestants import CONTESTANTS

ROOT = Path(__file__).parents[1]


class Setting(NamedTuple):
    """What all workers of a run have in common.

    environments: folder of the virtual environments, or None to use this interpreter for all.
    """

    environments: Path | None
    device: str
    dtype: str
    threads: int


class Pool:
    """Workers, started when they are first needed.

    On a CPU all stay alive, so that they can take turns; on a GPU, where two large models may not
    fit, a worker ends when another is asked for.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.started: dict[tuple[str, Path], dict[str, Any]] = {}
        self._workers: dict[tuple[str, Path], subprocess.Popen[str]] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def ask(self, name: str, checkpoint: Path, call: str, **arguments: Any) -> dict[str, Any]:
        """Have a contestant run a function on a checkpoint; gives its seconds and memory."""
        out = arguments.pop("out", None)
        worker = self._find_worker(name, checkpoint)
        order = {"call": call, "arguments": arguments, "out": str(out) if out else None}
        worker.stdin.write(json.dumps(order) + "\n")
        worker.stdin.flush()
        return _read_line(worker, name)

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.stdin.close()
            worker.wait()
        self._workers = {}

    def _find_worker(self, name: str, checkpoint: Path) -> subprocess.Popen[str]:
        contestant = CONTESTANTS[name]
        key = contestant.module, checkpoint
        if key not in self._workers:
            if self.setting.device.startswith("cuda"):
                self.close()
            worker = self._start_worker(contestant.module, contestant.environment, checkpoint)
            self._workers[key] = worker
            self.started[key] = _read_line(worker, name)
        return self._workers[key]

    def _start_worker(
        self, module: str, environment: str, checkpoint: Path
    ) -> subprocess.Popen[str]:
        _, device, dtype, threads = self.setting
        folder = self.setting.environments
        python = folder / environment / "bin" / "python" if folder else sys.executable
        options = ["--device", device, "--dtype", dtype, "--threads", str(threads)]
        paths = [str(ROOT), str(ROOT / "workflow")]
        settings = {
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "WANDB_MODE": "disabled",
        }
        return subprocess.Popen(
            [str(python), "-m", "benchmarks.worker", module, str(checkpoint), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | settings,
            cwd=ROOT,
        )


def _read_line(worker: subprocess.Popen[str], name: str) -> dict[str, Any]:
    line = worker.stdout.readline()
    if not line:
        raise SystemExit(
            f"the worker of {name} ended with code {worker.wait()}; see its words above"
        )
    return json.loads(line)
