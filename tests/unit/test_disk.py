"""What downloads take is said beforehand, and refused where it cannot fit."""

import pytest

from emodrift.errors import EmodriftError
from emodrift.plan.disk import Need, add_up, judge_disk
from emodrift.store.downloads import format_size

GB = 10**9


def test_with_deletion_the_reference_and_one_more_lie_on_the_disk():
    sizes = {"r": 4 * GB, "a": 5 * GB, "b": 3 * GB}
    need = add_up(sizes, [["r"], ["a"], ["b"]], ["r"])
    assert need == Need(total=12 * GB, alone=9 * GB, further=5 * GB)


def test_a_base_that_adapters_share_counts_once_and_stays():
    sizes = {"base": 8 * GB, "a": GB, "b": 2 * GB}
    loads = [["base"], ["a", "base"], ["b", "base"]]
    assert add_up(sizes, loads, ["base"]) == Need(11 * GB, 10 * GB, 2 * GB)
    assert add_up({"a": GB}, loads, ["base"]) == Need(GB, GB, GB)


def test_a_name_that_comes_twice_counts_once():
    assert add_up({"r": GB}, [["r"], ["r"]], ["r"]).alone == GB


NEED = Need(total=20 * GB, alone=6 * GB, further=3 * GB)


def test_the_need_is_said_in_a_line():
    assert judge_disk(NEED, 5, 100 * GB, kept=True).startswith("5 downloads from the hub, 20 GB; ")
    line = judge_disk(NEED, 5, 10 * GB, kept=False)
    assert "6 GB at a time, 3 GB more for each further job" in line
    assert "10 GB is free at " in line


@pytest.mark.parametrize(
    ("free", "kept", "message"),
    [
        (10 * GB, True, "take 20 GB, and 10 GB is free .*set compute.keep_downloads: false, which"),
        (5 * GB, True, "take 20 GB, and 5 GB is free at [^;]*; make room, or set HF_HUB_CACHE"),
        (5 * GB, False, "take 6 GB at a time though compute.keep_downloads is false, and 5 GB is"),
    ],
)
def test_what_cannot_fit_is_refused_with_what_would_help(free, kept, message):
    with pytest.raises(EmodriftError, match=message):
        judge_disk(NEED, 5, free, kept)


def test_sizes_are_words():
    assert [format_size(s) for s in (5, 1800, 2_345_678, 14.5e9, 3e12, 5e15)] == [
        "5 B", "1.8 kB", "2.35 MB", "14.5 GB", "3 TB", "5e+03 TB"]  # fmt: skip
