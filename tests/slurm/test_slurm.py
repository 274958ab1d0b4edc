"""A study on a cluster: the same tables, and nothing lost whatever happens to jobs and machines.

The cluster is of one node, in a folder of its own (`tests/slurm/node.py`); the profile is the
shipped one, but for its patience.
"""

import re
import shutil
import signal
import subprocess
import time

import pytest
from safetensors.torch import load_file, save_file

from tests.conftest import Project, save_checkpoint
from tests.slurm.node import list_missing, run_node

pytestmark = pytest.mark.skipif(
    bool(list_missing()),
    reason=f"this machine lacks {', '.join(list_missing())}: python -m tests.slurm.node installs",
)
PROFILE = ["--workflow-profile", "profiles/slurm"]
HASTE = ["--slurm-init-seconds-before-status-checks", "3", "--seconds-between-status-checks", "3"]
HASTE += ["--latency-wait", "20"]
OF_VISIT = ("visit", "vectors", "verdicts")
LITTLE_AT_FIRST = [f"{rule}:mem_mb=100 if attempt == 1 else 1500" for rule in OF_VISIT]
SECONDS = 600


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with run_node(tmp_path_factory.mktemp("node") / "slurm") as node:
        yield node


@pytest.fixture(scope="module")
def on_cluster(finished, node, tmp_path_factory):
    """The finished study, run once more, from its checkpoints, on the cluster; and its output."""
    folder = tmp_path_factory.mktemp("cluster") / "project"
    left = shutil.ignore_patterns("results", ".snakemake")
    shutil.copytree(finished.folder, folder, ignore=left)
    project = Project(folder, {**finished.environment, **node.environment})
    done = project.run(*PROFILE, *HASTE)
    return project, done.stdout + done.stderr


def read_tables(project):
    published = project.folder / "results/tiny"
    return {p.relative_to(published): p.read_bytes() for p in published.rglob("*.csv")}


def list_submitted(output, key=""):
    """SLURM's numbers of the jobs that were submitted; of those of one visit, where it is named."""
    return re.findall(rf"has been submitted with SLURM jobid (\d+) \(log: \S*{key}", output)


def test_a_cluster_gives_the_same_tables_byte_for_byte(finished, on_cluster):
    project, _ = on_cluster
    expected = read_tables(finished)
    assert len(expected) > 20 and read_tables(project) == expected
    assert project.list_jobs() == {}


def test_a_visit_is_one_job_with_what_follows_from_it_and_short_stages_share_one(on_cluster):
    """Contrast data, the reference, the other checkpoint, tables, figures with the report."""
    _, output = on_cluster
    assert len(list_submitted(output)) <= 5


class Watched:
    """A run of a project on a cluster that goes on while something is done to it."""

    def __init__(self, project, *arguments):
        self.log = project.folder / "run.log"
        self.file = self.log.open("w")
        self.process = subprocess.Popen(
            [*project.command, *PROFILE, *HASTE, *arguments],
            **project.place,
            stdout=self.file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait(self, there, what):
        """Wait until something holds while the run goes on."""
        deadline = time.monotonic() + SECONDS
        while not (found := there()):
            assert time.monotonic() < deadline, f"{what} did not come:\n{self.read()}"
            assert self.process.poll() is None, f"ended before {what}:\n{self.read()}"
            time.sleep(0.2)
        return found

    def end(self):
        """Exit status and output."""
        try:
            status = self.process.wait(timeout=SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGKILL)
            self.file.close()
        return status, self.read()

    def read(self):
        return self.log.read_text()


def add_broken(folder, step):
    """A checkpoint with a weight that is no number."""
    place = save_checkpoint(folder, seed=step, step=step) / "model.safetensors"
    weights = load_file(place)
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, place, metadata={"format": "pt"})


def test_what_happens_to_jobs_and_machines_costs_tries_and_no_results(node, on_cluster):
    """Too little memory, put back into the queue, the controller gone, the node drained, cancelled.

    Beside it a checkpoint that cannot be measured, which is not tried again and keeps nobody.
    """
    project, _ = on_cluster
    save_checkpoint(project.folder / "runs/sft/checkpoint-20", seed=20, step=20)
    broken = project.folder / "runs/broken/checkpoint-30"
    add_broken(broken, step=30)
    source = {"checkpoints": "runs/broken/checkpoint-*"}
    project.edit_study(lambda s: s["runs"].update(broken=source))

    run = Watched(project, "--set-resources", *LITTLE_AT_FIRST)
    named = re.compile(r"measure sft step 20\n\s+Reason: Missing output files: \S+/visit/(\w+)/")
    key = run.wait(lambda: named.search(run.read()), "a job for the new checkpoint")[1]
    run.wait(lambda: len(list_submitted(run.read(), key)) == 2, "a second try")
    first, second = list_submitted(run.read(), key)
    assert (node.show(first, "%m"), node.show(second, "%m")) == ("200M", "3000M")
    run.wait(lambda: node.show(second, "%T") == "RUNNING", "a running job")
    node.ask("scontrol", "requeue", second)
    run.wait(lambda: node.show(second, "%T") == "PENDING", "a requeued job")
    node.stop_controller()
    node.start_controller()
    run.wait(lambda: node.show(second, "%T") == "RUNNING", "a job that runs again")
    host = node.ask("sinfo", "-h", "-o", "%n").strip()
    node.ask("scontrol", "update", f"nodename={host}", "state=drain", "reason=test")
    node.ask("scancel", second)
    run.wait(lambda: len(list_submitted(run.read(), key)) == 3, "a third try")
    assert node.show(list_submitted(run.read(), key)[2], "%T") == "PENDING"
    node.ask("scontrol", "update", f"nodename={host}", "state=resume")
    status, output = run.end()
    assert status == 1
    refusals = [line for line in output.splitlines() if "emodrift: error" in line]
    assert len(refusals) == 1 and "broken step 30" in refusals[0]
    assert "weight" in refusals[0] and len(output.splitlines()) < 150

    shutil.rmtree(broken)
    project.edit_study(lambda s: s["runs"].pop("broken"))
    assert "visit" not in project.list_jobs()
    project.run(*PROFILE, *HASTE)
    assert project.list_jobs() == {} and not list(project.folder.glob("results/store/*/.*scratch*"))
