"""The fault table of docs/reliability.md, made by trying every fault: `make reliability`.

``python -m tests.reliability Store Runs`` tries the faults of these groups alone, and leaves the
other rows as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
START, END = "<!-- table: made by `make reliability` -->", "<!-- end of table -->"


class Fault(NamedTuple):
    """A kind of fault: what is done, what follows, and the tests that do it (file, names).

    The file is one of `tests/unit`, or named with its folder below `tests`.
    """

    fault: str
    outcome: str
    file: str
    tests: tuple[str, ...] = ()


FAULTS = {
    "Weights": (
        Fault(
            "a weight missing, all renamed, more or fewer layers than the config says, the config "
            "of another architecture or another shape",
            "refused by name; nothing is drawn at random",
            "test_loading.py",
            (
                "test_a_missing_weight_is_named_and_not_drawn_at_random",
                "test_weights_that_are_all_renamed_are_missing",
                "test_more_layers_in_the_config_than_in_the_weights_are_refused",
                "test_fewer_layers_in_the_config_than_in_the_weights_are_refused",
                "test_the_config_of_another_architecture_is_refused",
                "test_a_weight_of_another_shape_than_the_config_says_is_refused",
            ),
        ),
        Fault(
            "an adapter with missing or renamed weights, or whose config does not go with them",
            "refused",
            "test_loading.py",
            (
                "test_a_missing_weight_of_an_adapter_is_refused",
                "test_renamed_weights_of_an_adapter_are_refused",
                "test_a_config_that_does_not_go_with_an_adapter_is_one_line",
            ),
        ),
        Fault(
            "safetensors cut off or empty, headers that claim terabytes, overlap, or are no JSON",
            "refused when the study is planned, from the header alone",
            "test_hostile.py",
            ("test_a_header_that_cannot_be_right_is_refused",),
        ),
        Fault(
            "shards without their index, or with another one",
            "refused when the study is planned",
            "test_hostile.py",
            (
                "test_shards_and_their_index_belong_together",
                "test_a_weight_that_its_index_places_in_another_shard_is_named",
            ),
        ),
    ),
    "Code": (
        Fault(
            "a checkpoint that brings code for its model or tokenizer, with `y` on standard input",
            "refused; the code does not run",
            "test_loading.py",
            (
                "test_code_that_comes_with_a_checkpoint_never_runs",
                "test_every_loading_call_of_the_library_rules_out_remote_code_by_name",
            ),
        ),
        Fault(
            "a chat template that does not end, takes all memory, drops the prompt, or is none",
            "tried in a process with limits of time and memory, and refused",
            "test_templates.py",
        ),
    ),
    "Input": (
        Fault(
            "files of a checkpoint that are of another kind, encoding or depth, pipes, links to "
            "nothing",
            "one line that names the file, when the study is planned",
            "test_hostile.py",
            (
                "test_a_broken_file_of_a_checkpoint_is_named",
                "test_a_broken_config_of_an_adapter_is_named",
                "test_names_that_are_not_encoded_as_utf_8_can_be_told",
                "test_paths_that_cannot_be_are_one_line",
            ),
        ),
        Fault(
            "configs of another shape, patterns that cannot be filled in, sizes out of reach",
            "one line that names the key",
            "test_hostile.py",
            (
                "test_a_config_that_cannot_be_is_one_line_with_its_key",
                "test_a_file_that_is_no_config_is_one_line",
            ),
        ),
        Fault(
            "random configs, specifiers, checkpoints and headers (`make fuzz`: 20 times as many)",
            "a plan, or one line of at most 500 characters within seconds",
            "test_fuzz.py",
        ),
    ),
    "Store": (
        Fault(
            "bytes changed or cut off, files missing or foreign, manifests broken or edited, "
            "entries deleted, moved or linked, published files changed",
            "found by `emodrift verify`; `--repair` removes what must be made again, no more",
            "test_verify.py",
        ),
        Fault(
            "two writers of one memory file; memory that is empty, broken or cannot be written",
            "nothing is lost; it is rebuilt or done without",
            "test_remembering.py",
        ),
        Fault(
            "a full or read-only disk, a writer killed, two writers of one entry",
            "one line, no half entry; scratch of dead processes goes",
            "test_store.py",
            (
                "test_a_disk_that_does_not_take_an_entry_is_one_line",
                "test_scratch_of_dead_processes_is_cleared_by_the_next_writer_and_of_living_ones_is_not",
                "test_two_writers_of_one_entry_leave_one_whole_entry",
                "test_an_entry_counts_only_when_its_bytes_are_on_the_disk",
            ),
        ),
    ),
    "Runs": (
        Fault(
            "a study killed with `kill -9` at random moments, from contrast data to publication",
            "no finished entry is lost, no half one looks finished; the tables are those of a "
            "study that is left alone",
            "workflow/test_kills.py",
        ),
    ),
    "Sharing": (
        Fault(
            "a run told to end (SIGTERM), then finished by two runs at a time and, with other "
            "code, by another study on the same store; times of files hours ahead and behind",
            "no run deletes what another has finished; the tables are those of a study that is "
            "left alone; nothing is made anew for its time",
            "workflow/test_sharing.py",
            (
                "test_a_run_that_was_told_to_end_is_finished_by_two_at_a_time_of_different_code",
                "test_times_that_are_wrong_make_nothing_anew",
            ),
        ),
        Fault(
            "a shared file system that shows what another machine has made seconds later",
            "the run waits; the tables are those of a study that is left alone",
            "workflow/test_sharing.py",
            ("test_entries_that_are_seen_late_are_waited_for",),
        ),
    ),
    "Cluster": (
        Fault(
            "on SLURM, in one study: a job put back into the queue, one cancelled, one that hangs "
            "until its time is up, one that outgrows its memory, a node that is drained and then "
            "goes down, a controller that restarts, and entries that are seen seconds late",
            "the tables are those of one machine, byte for byte; what failed is tried again, with "
            "more time and memory",
            "slurm/test_slurm.py",
        ),
    ),
}


class Tally:
    """A pytest plugin that counts what was tried and what survived, by file and test."""

    def __init__(self) -> None:
        self.tried: dict[str, list[bool]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test's own part, or a set-up that failed."""
        if report.when == "call" or report.failed:
            name = report.nodeid.partition("[")[0]
            self.tried.setdefault(name, []).append(report.passed)


def locate(fault: Fault) -> list[str]:
    """Node ids of a fault's tests, as pytest takes them."""
    file = Path("tests", fault.file if "/" in fault.file else f"unit/{fault.file}")
    path = (ROOT / file).resolve().relative_to(ROOT).as_posix()
    return [f"{path}::{name}" for name in fault.tests] or [path]


def count_cases(fault: Fault, tried: dict[str, list[bool]]) -> tuple[int, int]:
    """Cases tried and survived; a test that tries many by itself counts for as many."""
    places = tuple(locate(fault))
    found = {n: r for n, r in tried.items() if n in places or n.startswith(f"{places[0]}::")}
    number = weigh()
    weights = {name: number.get(name.rpartition("::")[2], 1) for name in found}
    results = [(weights[name], result) for name, each in found.items() for result in each]
    return sum(w for w, _ in results), sum(w for w, survived in results if survived)


def weigh() -> dict[str, int]:
    """Test -> the cases that it draws by itself."""
    from tests.unit.test_fuzz import CASES, FACTOR
    from tests.workflow.test_kills import KILLED

    return {name: number * FACTOR for name, number in CASES.items()} | KILLED


def read_rows(page: str) -> dict[str, tuple[int, int]]:
    """What the page's table says of each fault: cases tried and survived."""
    table = page.partition(START)[2].partition(END)[0].strip().splitlines()[2:]
    rows = [line.strip("| ").split(" | ") for line in table]
    return {row[-4]: (int(row[-2]), int(row[-1])) for row in rows}


def render_table(counts: Mapping[str, tuple[int, int]]) -> str:
    """The table as Markdown, from the cases of each fault that were tried and survived."""
    lines = ["| | fault | what follows | tried | survived |", "| --- | --- | --- | --: | --: |"]
    for group, faults in FAULTS.items():
        for place, fault in enumerate(faults):
            cases, passed = counts.get(fault.fault, (0, 0))
            head = "" if place else group
            lines.append(f"| {head} | {fault.fault} | {fault.outcome} | {cases} | {passed} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Try the faults of some groups, or of all, and write the table into its page."""
    tally = Tally()
    groups = [name for name in arguments if name in FAULTS] or list(FAULTS)
    asked = [fault for group in groups for fault in FAULTS[group]]
    nodes = dict.fromkeys(node for fault in asked for node in locate(fault))
    options = [argument for argument in arguments if argument not in FAULTS]
    status = pytest.main([*nodes, *options], plugins=[tally])
    page = PAGE.read_text(encoding="utf-8")
    counts = read_rows(page) | {f.fault: count_cases(f, tally.tried) for f in asked}
    before, _, rest = page.partition(START)
    after = rest.partition(END)[2]
    table = f"{before}{START}\n\n{render_table(counts)}\n\n{END}{after}"
    PAGE.write_text(table, encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
