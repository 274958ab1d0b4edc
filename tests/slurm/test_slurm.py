"""A study on a cluster: the same tables, in few jobs.

The cluster is of one node, in a folder of its own (`tests/slurm/node.py`); the profile is the
shipped one, but for its patience.
"""

import re

import pytest

from tests.slurm.node import list_missing, run_node

pytestmark = pytest.mark.skipif(
    bool(list_missing()),
    reason=f"this machine lacks {', '.join(list_missing())}: python -m tests.slurm.node installs",
)
PROFILE = ["--workflow-profile", "profiles/slurm"]
HASTE = ["--slurm-init-seconds-before-status-checks", "3", "--seconds-between-status-checks", "3"]
HASTE += ["--latency-wait", "20"]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with run_node(tmp_path_factory.mktemp("node") / "slurm") as node:
        yield node


@pytest.fixture(scope="module")
def on_cluster(finished, node, tmp_path_factory):
    """The finished study, run once more, from its checkpoints, on the cluster; and its output."""
    project = finished.copy_untouched(tmp_path_factory.mktemp("cluster") / "project")
    project.environment |= node.environment
    done = project.run(*PROFILE, *HASTE)
    return project, done.stdout + done.stderr


def list_submitted(output):
    """SLURM's numbers of the jobs that were submitted."""
    return re.findall(r"has been submitted with SLURM jobid (\d+)", output)


def test_a_cluster_gives_the_same_tables_byte_for_byte(finished, on_cluster):
    project, _ = on_cluster
    expected = finished.read_tables()
    assert len(expected) > 20 and project.read_tables() == expected
    assert project.list_jobs() == {}


def test_a_visit_is_one_job_with_what_follows_from_it_and_short_stages_share_one(on_cluster):
    """Contrast data, the reference, the other checkpoint, tables, figures with the report."""
    _, output = on_cluster
    assert len(list_submitted(output)) <= 5
