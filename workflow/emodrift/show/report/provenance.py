"""Where a report's numbers come from: checkpoints, data, code, versions, seeds and time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from emodrift.show.report.tables import Table
from emodrift.store.entry import entry_exists, map_inputs, read_manifest


class Origin(NamedTuple):
    """Tables of checkpoints, stages and settings, each as it is printed."""

    checkpoints: Table
    stages: Table
    settings: Table


def trace_origin(entries: Mapping[str, Any], study: Any) -> Origin:
    """What the entries' manifests say of everything that they were made from.

    Parameters
    ----------
    entries
        Stage -> entry or list of entries.
    study
        See :class:`emodrift.show.report.page.Study`.
    """
    manifests = walk_manifests(entries)
    return Origin(
        _list_checkpoints(study.checkpoints),
        _time_stages(manifests),
        _list_settings(manifests, study.config),
    )


def walk_manifests(entries: Mapping[str, Any]) -> dict[Path, dict[str, Any]]:
    """Manifests of entries and of all that they were made from, so far as they still exist."""
    waiting: list[Path] = []
    map_inputs(entries, waiting.append)
    found: dict[Path, dict[str, Any]] = {}
    while waiting:
        path = waiting.pop()
        if path in found or not entry_exists(path):
            continue
        manifest = found[path] = read_manifest(path)
        places: list[str] = []
        map_inputs(manifest.get("inputs", {}), places.append)
        if "contrasts" in manifest.get("context", {}):
            places.append(manifest["context"]["contrasts"])
        waiting += [path.parent.parent / place for place in places]
    return found


def _list_checkpoints(checkpoints: Any) -> Table:
    rows = [
        (
            str(c["run"]),
            (
                str(c["stage"]),
                str(c["step"]),
                "–" if c["tokens"] is None else f"{c['tokens']:,}",
                str(c["digest"])[:16],
            ),
        )
        for c in checkpoints
    ]
    note = "Checkpoints, with the first sixteen digits of the digest of their weights or commit."
    return Table(note, ("stage", "step", "tokens", "digest"), rows)


def _time_stages(manifests: Mapping[Path, Mapping[str, Any]]) -> Table:
    stages: dict[str, list[float]] = {}
    for manifest in manifests.values():
        stages.setdefault(manifest["stage"], []).append(manifest.get("seconds", 0.0))
    ordered = sorted(stages.items(), key=lambda item: -sum(item[1]))
    rows = [(name, (str(len(s)), f"{sum(s):.1f}", f"{max(s):.1f}")) for name, s in ordered]
    total = sum(map(sum, stages.values()))
    note = (
        f"Entries that this report rests on and the seconds their jobs took: {total:.0f} s in all."
    )
    return Table(note, ("entries", "seconds", "longest"), rows, "stage")


def _list_settings(manifests: Mapping[Path, Mapping[str, Any]], config: Mapping[str, Any]) -> Table:
    facts: dict[str, dict[str, None]] = {}

    def add(name: str, value: Any) -> None:
        if value:
            facts.setdefault(name, {})[str(value)] = None

    for manifest in manifests.values():
        for package, version in manifest.get("packages", {}).items():
            add(package, version)
        add("Python", manifest.get("python"))
        add("git commit", manifest.get("git_commit"))
        add("machine", manifest.get("machine"))
    digests = {
        path.name: None for path, m in manifests.items() if m["stage"] in ("contrasts", "stories")
    }
    if digests:
        facts["contrast data"] = digests
    add("seed of the study", str(config.get("seed", 0)))
    if config.get("organism"):
        add("seed of the organisms", str(config["organism"]["seed"]))
    rows = [(name, (", ".join(values),)) for name, values in facts.items()]
    note = "Versions, commit, content keys of the contrast data, seeds; all, where entries differ."
    return Table(note, ("value",), rows, "what")
