"""Planning contrast data: generators and files, and stories that a model writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emodrift.config.texts import Source
from emodrift.errors import EmodriftError
from emodrift.plan.entries import Plan
from emodrift.plan.sources import (
    describe_part,
    describe_writing,
    digest_source,
    find_file,
    list_files,
    name_parts,
)
from emodrift.store.entry import Entry
from emodrift.store.memory import FileDigests


def plan_contrasts(plan: Plan, digests: FileDigests) -> Entry:
    """Entry of the contrast data: generators and files, each file a part of its own."""
    section = plan.study.contrasts
    parts: dict[str, dict[str, Any]] = {}
    files: dict[str, Path] = {}
    leaves: dict[str, str] = {}
    written: list[Entry] = []
    amounts = section.amounts.model_dump(mode="json", exclude_none=True)
    for kind in ("stories", "neutral", "controls", "prompts"):
        key = f"contrasts.{kind}"
        for source in getattr(section, kind):
            listed = list_files(key, source.file) if source.file else []
            names = [f"{kind}-{stem}" for stem in name_parts(source, listed)]
            found = dict(zip(names, listed, strict=True)) if listed else {}
            if source.writer:
                written.append(_plan_stories(plan, key, source, digests))
                stories = plan.store / written[-1].place / "stories"
                found = {f"{names[0]}-{e}": stories / f"{e}.jsonl" for e in section.emotions}
            else:
                leaves |= {name: digest_source(key, file, digests) for name, file in found.items()}
            for name in found or names:
                if name in parts:
                    raise EmodriftError(
                        f"{key}: two sources are called {name.removeprefix(f'{kind}-')!r}; "
                        "give one a `name`, or rename a file"
                    )
                parts[name] = describe_part(kind, source)
            files |= found
    if section.replies != "grammar":
        leaves["replies"] = digests.digest(find_file("contrasts.replies", section.replies))
    return plan.add(
        "contrasts",
        {
            "parts": parts,
            "emotions": list(section.emotions),
            "minimum_topics": section.minimum_topics,
            "metrics": {
                k: {"suite": m.suite, "toward": m.toward}
                for k, m in plan.study.behaviours.metrics.items()
            },
            "minimum_prompts": plan.study.behaviours.minimum_prompts,
            **({"amounts": amounts} if amounts else {}),
        },
        inputs={"stories": tuple(written)} if written else {},
        leaves=leaves,
        context={
            "files": {name: str(file) for name, file in files.items()},
            "replies": section.replies,
        },
        label="contrast data",
    )


def _plan_stories(plan: Plan, key: str, source: Source, digests: FileDigests) -> Entry:
    assert source.writer
    writing = describe_writing(
        key,
        source,
        plan.study.contrasts.emotions,
        plan.study.compute,
        digests,
        plan.store / "revisions.json",
    )
    return plan.add(
        "stories",
        writing.params,
        leaves=writing.leaves,
        context=writing.context,
        label=f"stories by {source.writer.model}",
    )
