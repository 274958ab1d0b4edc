"""A study on a cluster: the same tables, in few jobs, whatever happens to jobs and node.

The cluster is of one node, in a folder of its own (`tests/slurm/node.py`); the profile is the
shipped one, but for its patience.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest

from tests import stale
from tests.slurm.node import list_missing, run_node

pytestmark = pytest.mark.skipif(
    bool(list_missing()),
    reason=f"this machine lacks {', '.join(list_missing())}: python -m tests.machine installs",
)
PROFILE = ["--workflow-profile", "profiles/slurm"]
HASTE = ["--slurm-init-seconds-before-status-checks", "3", "--seconds-between-status-checks", "3"]
HASTE += ["--latency-wait", "20"]
SUMMARIES = ("drift", "evocation", "coupling", "fragmentation", "reply_behaviour", "agreement")
LAST = (*SUMMARIES, "indicators", "figures", "report", "publication")
STARVED = ["--set-resources", *(f"{rule}:mem_mb=30 * 100 ** (attempt - 1)" for rule in LAST)]
"""The last job asks for far too little memory at first, and for enough at its second try."""


class Disturbed(NamedTuple):
    """Numbers of jobs, by what was done to them."""

    requeued: str
    cancelled: str
    drained: str
    hung: str
    failed: str


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with run_node(tmp_path_factory.mktemp("node") / "slurm") as node:
        yield node


@pytest.fixture(scope="module")
def on_cluster(finished, node, tmp_path_factory):
    """The finished study, run once more, from its checkpoints, on the cluster; its output; and the
    jobs that were disturbed."""
    project = finished.copy_untouched(tmp_path_factory.mktemp("cluster") / "project")
    project.environment |= node.environment
    project.environment |= stale.install(project.folder, tmp_path_factory.mktemp("seen"), seconds=2)
    with ThreadPoolExecutor(1) as pool:
        disturbed = pool.submit(disturb, node)
        done = project.run(*PROFILE, *HASTE, *STARVED)
        return project, done.stdout + done.stderr, disturbed.result()


def disturb(node):
    """Put the first job back into the queue, cancel the second, drain the node and restart the
    controller under the third, have the fourth hang until its time is up, and the node go down
    under its second try."""
    requeued = node.await_running()
    node.ask("scontrol", "requeue", requeued)
    cancelled = node.await_running(requeued)
    node.ask("scancel", cancelled)
    drained = node.await_running(requeued, cancelled)
    node.drain()
    node.stop_controller()
    node.start_controller()
    node.resume()
    hung = node.await_running(requeued, cancelled, drained)
    node.hang(hung)
    failed = node.await_running(requeued, cancelled, drained, hung)
    node.fail()
    node.resume()
    return Disturbed(requeued, cancelled, drained, hung, failed)


def list_submitted(output):
    """SLURM's numbers of the jobs that were submitted."""
    return re.findall(r"has been submitted with SLURM jobid (\d+)", output)


def test_a_cluster_gives_the_same_tables_byte_for_byte(finished, on_cluster):
    project, _, _ = on_cluster
    expected = finished.read_tables()
    assert len(expected) > 20 and project.read_tables() == expected
    assert project.list_jobs() == {}


def test_a_visit_is_one_job_with_what_follows_from_it_and_short_stages_share_one(on_cluster):
    """Contrast data, the reference, the other checkpoint, tables with figures and report; and what
    was cancelled, what hung and what had too little memory, once more."""
    _, output, _ = on_cluster
    assert len(list_submitted(output)) <= 4 + 3


def test_jobs_survive_a_queue_nodes_that_are_drained_or_fail_and_a_new_controller(node, on_cluster):
    _, output, disturbed = on_cluster
    submitted = list_submitted(output)
    assert {*disturbed} <= {*submitted}
    for job in (disturbed.requeued, disturbed.failed):
        assert "Restarts=1" in node.ask("scontrol", "show", "job", job)
    states = {job: node.show(job, "%T") for job in submitted}
    assert states.pop(disturbed.cancelled) == "CANCELLED"
    assert states.pop(disturbed.hung) == "TIMEOUT"
    states.pop(submitted[-2])
    assert set(states.values()) == {"COMPLETED"}


def test_a_job_whose_time_is_up_is_tried_again_with_more(node, on_cluster):
    """A visit has four hours and vectors, in the same job, half an hour; then twice as much."""
    _, _, disturbed = on_cluster
    assert node.show(disturbed.failed, "%l") == "9:00:00"


def test_a_job_that_outgrows_its_memory_is_tried_again_with_more(node, on_cluster):
    _, output, _ = on_cluster
    starved, fed = list_submitted(output)[-2:]
    assert [node.show(job, "%m") for job in (starved, fed)] == ["60M", "6000M"]
    assert [node.show(job, "%T") for job in (starved, fed)] == ["FAILED", "COMPLETED"]
