"""A SLURM cluster of one node, in a folder of its own, for as long as a test needs it.

Nothing of the machine's own SLURM, if it has one, is touched: configuration, sockets, state and the
secret of the authentication lie in the folder, and every daemon is a child of this process.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.machine import SEARCHED

DAEMONS = ("munged", "slurmctld", "slurmd")
SECONDS = 240
CONFIGURATION = """\
ClusterName=emodrift
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
SwitchType=switch/none
TaskPlugin=task/none
ProctrackType=proctrack/linuxproc
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
ReturnToService=2
KillWait=2
MinJobAge=3600
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def list_missing() -> list[str]:
    """Daemons that this machine lacks."""
    return [name for name in DAEMONS if not shutil.which(name, path=SEARCHED)]


@dataclass
class Node:
    """A cluster of one node.

    Parameters
    ----------
    folder
        Where all of it lies.
    """

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to reach this cluster and no other."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def start(self) -> None:
        """Start the daemons, and wait until the node takes jobs."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o700)
        self._configure()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        names = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log"}
        paths = [f"--{option}={self.folder}/munge.{end}" for option, end in names.items()]
        seed = f"--seed-file={self.folder}/munge.seed"
        self._launch("munged", "--foreground", "--force", *paths, seed)
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged")
        self.start_controller()
        self._launch("slurmd", "-D")
        self._wait(lambda: self._read_state() == "idle", "slurmd")

    def start_controller(self) -> None:
        """Start the controller, and wait until it answers."""
        self._launch("slurmctld", "-D")
        self._wait(lambda: bool(self.ask("sinfo", "-h")), "slurmctld")

    def stop_controller(self) -> None:
        """End the controller as an administrator does."""
        self._end("slurmctld")

    def stop(self) -> None:
        """End all jobs and daemons."""
        if "slurmctld" in self.running:
            self.ask("scancel", f"--user={os.getuid()}")
            with contextlib.suppress(TimeoutError):
                self._wait(lambda: not self.list_jobs(), "the last job")
        for name in reversed(tuple(self.running)):
            self._end(name)

    def ask(self, *command: str) -> str:
        """What a command of SLURM answers; nothing where it fails."""
        done = subprocess.run(
            command, capture_output=True, text=True, env=os.environ | self.environment, timeout=60
        )
        return done.stdout if done.returncode == 0 else ""

    def show(self, job: str, what: str) -> str:
        """One field of a job, in squeue's format, whether it is over or not."""
        return self.ask("squeue", "-h", "--states=all", "-j", job, "-o", what).strip()

    def list_jobs(self, *states: str) -> list[str]:
        """Numbers of the jobs that are in the queue, or in one of some states."""
        chosen = [f"--states={','.join(states)}"] if states else []
        return self.ask("squeue", "-h", "-o", "%i", *chosen).split()

    def await_running(self, *known: str) -> str:
        """Wait until a job runs that is none of those known; its number."""
        found: set[str] = set()
        self._wait(lambda: found.update(set(self.list_jobs("R")) - {*known}) or found, "a job")
        return min(found)

    def drain(self) -> None:
        """Let the node take no further job."""
        self._set_state("DRAIN")
        self._wait(lambda: self._read_state().startswith("drain"), "draining")

    def hang(self, job: str) -> None:
        """Stop the processes of a job where they are, and leave it a minute in all."""
        self.ask("scontrol", "update", f"JobId={job}", "TimeLimit=1")
        self._wait(lambda: f"{job}.0" in self.ask("squeue", "-hs", "-j", job, "-o", "%i"), "a step")
        self.ask("scancel", "--signal=STOP", job)

    def fail(self) -> None:
        """Have the node go down under its jobs; it is back as soon as it answers."""
        self._set_state("DOWN")

    def resume(self) -> None:
        """Let it take jobs again."""

        def resumed() -> bool:
            self._set_state("RESUME")
            return not self._read_state().startswith(("drain", "down"))

        self._wait(resumed, "the node")

    def _set_state(self, state: str) -> None:
        name = socket.gethostname().partition(".")[0]
        self.ask("scontrol", "update", f"NodeName={name}", f"State={state}", "Reason=test")

    def _read_state(self) -> str:
        return self.ask("sinfo", "-h", "-o", "%T").strip()

    def _configure(self) -> None:
        with contextlib.ExitStack() as stack:
            ports = [stack.enter_context(socket.socket()) for _ in range(2)]
            for port in ports:
                port.bind(("127.0.0.1", 0))
            controller, node = (port.getsockname()[1] for port in ports)
        text = CONFIGURATION.format(
            host=socket.gethostname().partition(".")[0],
            controller=controller,
            node=node,
            user=os.environ.get("USER") or ("root" if os.getuid() == 0 else str(os.getuid())),
            folder=self.folder,
            cpus=os.cpu_count(),
            memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 - 1024,
        )
        (self.folder / "slurm.conf").write_text(text)
        wrapper = self.folder / "bin" / "srun"  # the executor drops SLURM_CONF on the way to it
        wrapper.parent.mkdir()
        wrapper.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n'
        )
        wrapper.chmod(0o755)

    def _launch(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.out").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [name, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment | {"PATH": SEARCHED},
                start_new_session=True,
            )

    def _end(self, name: str) -> None:
        process = self.running.pop(name)
        process.terminate()
        try:
            process.wait(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _wait(self, there, what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not there():
            if time.monotonic() > deadline:
                logs = [p.read_text(errors="replace")[-500:] for p in self.folder.glob("*.log")]
                raise TimeoutError(f"{what} did not come up in {SECONDS} s: {logs}")
            time.sleep(0.1)


@contextlib.contextmanager
def run_node(folder: Path) -> Iterator[Node]:
    """A cluster of one node while the block lasts."""
    node = Node(folder)
    try:
        node.start()
        yield node
    finally:
        node.stop()
