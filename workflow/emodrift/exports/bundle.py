"""Bundles: what a study's figures are drawn from, in a folder that needs no model and no store.

A bundle is a small store: the entries that figures are drawn from, the lock, the report and the
indicators, each with its manifest, beside the config and a list of figures. Whoever has it can
check it and draw the figures again, in another width or palette too.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from emodrift.config.study import Study
from emodrift.errors import EmodriftError
from emodrift.plan.entries import Plan
from emodrift.show.figure import draw_figure
from emodrift.store.entry import Entry, entry_exists, map_inputs, read_manifest
from emodrift.store.verify import find_damage

CONTENTS = "bundle.json"
STORE = "store"
README = """\
# {name}

Everything that the figures of the emodrift study `{name}` are drawn from. With emodrift {version}:

    emodrift figures THIS_FOLDER --out figures

checks every file and draws them; no model is needed. `store/` holds the entries with their
manifests, `config.yaml` the study, `bundle.json` each figure's settings.
"""


def write_bundle(plan: Plan, out: Path) -> Path:
    """Write the bundle of a finished study.

    Parameters
    ----------
    plan
        The study's plan.
    out
        A folder that does not exist, or a file to be that ends in ``.zip``.

    Returns
    -------
    Path
        The folder or file.

    Raises
    ------
    EmodriftError
        `out` exists, or the study is not finished.
    """
    if out.exists():
        raise EmodriftError(f"{out} exists; delete it, or give the bundle another name")
    entries = list_bundled(plan)
    missing = [e for e in entries if not entry_exists(plan.store / e.place)]
    if missing or plan.publication is None:
        what = f"{missing[0].stage} of {missing[0].label}" if missing else "the organisms' training"
        raise EmodriftError(
            f"study {plan.study.name} is not finished ({what} is missing); "
            "run it first: emodrift run CONFIG"
        )
    if out.suffix != ".zip":
        _fill(plan, entries, out)
        return out
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / out.stem
        _fill(plan, entries, folder)
        _pack(folder, out)
    return out


def list_bundled(plan: Plan) -> list[Entry]:
    """Each once: what figures are drawn from, all that is published, and the report's lock."""
    published = plan.publication.list_inputs() if plan.publication else []
    wanted = [entry for figure in plan.of_stage("figure") for entry in figure.list_inputs()]
    wanted += [entry for entry in published if entry.stage != "figure"]
    wanted += [e for report in published for e in report.list_inputs() if e.stage == "lock"]
    return list({entry.place: entry for entry in wanted}.values())


@contextmanager
def open_bundle(path: Path) -> Iterator[Path]:
    """Give the folder of a bundle, unpacked for the while if it is a zip.

    Raises
    ------
    EmodriftError
        It is no bundle.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = path
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                archive.extractall(scratch)
            folder = next(Path(scratch).glob(f"*/{CONTENTS}"), Path(scratch) / CONTENTS).parent
        if not (folder / CONTENTS).is_file():
            raise EmodriftError(
                f"{path} is no bundle (no {CONTENTS} in it); make one: emodrift bundle CONFIG"
            )
        yield folder


def check_bundle(folder: Path) -> list[str]:
    """A line for each file of a bundle that is missing or differs from its manifest."""
    places = json.loads((folder / CONTENTS).read_text())["entries"]
    entries = {place: folder / STORE / place for place in places}
    return [
        f"{place}: {name}"
        for place, entry in entries.items()
        for name in find_damage(entry, read_manifest(entry)["files"])
    ]


def draw_bundle(
    path: Path, out: Path, width: float | None = None, palette: str | None = None
) -> list[Path]:
    """Draw a bundle's figures again, as ``<name>.pdf``, ``.svg``, ``.png`` and ``.csv``.

    Parameters
    ----------
    path
        A bundle: folder or zip.
    out
        Folder to write to.
    width, palette
        What figures are to look like; left out, as in the study.

    Raises
    ------
    EmodriftError
        A file of the bundle is missing or was changed.
    """
    drawn = []
    with open_bundle(path) as folder, tempfile.TemporaryDirectory() as scratch:
        damage = check_bundle(folder)
        if damage:
            raise EmodriftError(
                f"{path} is damaged: {damage[0]}"
                + (f" and {len(damage) - 1} more files" if len(damage) > 1 else "")
                + "; make it again where the study is: emodrift bundle CONFIG"
            )
        out.mkdir(parents=True, exist_ok=True)
        for figure in json.loads((folder / CONTENTS).read_text())["figures"]:
            settings = figure["params"]
            looks = {"width": width, "palette": palette}
            settings["scene"] |= {name: value for name, value in looks.items() if value}
            inputs = map_inputs(figure["inputs"], (folder / STORE).joinpath)
            draw_figure(**settings, **inputs, out=Path(scratch))
            for file in sorted(Path(scratch).iterdir()):
                target = out / f"{settings['name']}{file.suffix}"
                drawn.append(Path(shutil.move(file, target)))
    return drawn


def _fill(plan: Plan, entries: list[Entry], folder: Path) -> None:
    for entry in entries:
        shutil.copytree(plan.store / entry.place, folder / STORE / entry.place)
    contents = {
        "study": plan.study.name,
        "emodrift": metadata.version("emodrift"),
        "entries": [entry.place for entry in entries],
        "figures": [
            {"params": dict(f.params), "inputs": f.describe()["inputs"]}
            for f in plan.of_stage("figure")
        ],
    }
    (folder / CONTENTS).write_text(json.dumps(contents, indent=1) + "\n")
    text = yaml.safe_dump(_describe_study(plan.study), sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    readme = README.format(name=plan.study.name, version=metadata.version("emodrift"))
    (folder / "README.md").write_text(readme)


def _describe_study(study: Study) -> dict[str, Any]:
    return study.model_dump(mode="json", exclude_defaults=True)


def _pack(folder: Path, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, Path(folder.name) / file.relative_to(folder))
