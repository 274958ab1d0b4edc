"""What a stage over all checkpoints declares of itself, in the module that does its work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_type_hints

OPTIONAL = "?"
"""Ends the name of what is read where a study has it, and left out where it has not."""


@dataclass(frozen=True)
class Stage:
    """A stage over all checkpoints: a table or more, published with the study.

    The plan reads the declaration without importing the module, so that it is made of literals.

    Parameters
    ----------
    name
        Name of the stage, of its rule and of its folder in the store.
    function
        Function of the module that does the work. It is called with ``params``, what is set, and
        ``inputs``, what is read, each a named tuple of its annotation, and with ``out``, the
        directory to write its tables to.
    reads
        Field of ``inputs`` -> what it is given. A list is of kinds of readings (``stories``,
        ``neutral``, ``controls``, ``prompts``, ``gradients``): a mapping from kind to folders for
        each checkpoint. A name is of an entry for each checkpoint (``vectors``, ``responses``,
        ``verdicts``), of one (``lock``; ``twin``, the vectors of a random twin of the reference),
        or of another stage. A name that ends in ``?`` is left out where a study has no such entry.
    settings
        Names of settings, see :data:`emodrift.plan.settings.SETTINGS`; or of a key of the config,
        such as ``vectors.confound_variance``, whose last word is the field of ``params``.
    needs
        Section of the config without which a study does not have the stage.
    parts
        What the stage finds at a checkpoint rests on that checkpoint ``alone``, or on it and the
        ``reference``, beside entries of which there is one. It is then kept as an entry of its own,
        and ``function`` is given ``take`` (:mod:`emodrift.drift.parts`) to ask for it. Empty: it
        rests on other checkpoints, too.
    """

    name: str
    function: str
    reads: Mapping[str, str | Sequence[str]]
    settings: Sequence[str] = ()
    needs: str | None = None
    parts: Literal["", "alone", "reference"] = ""


def call_stage(
    params: Mapping[str, Any], inputs: Mapping[str, Any], out: Path, store: Path
) -> None:
    """Do the work of a stage over all checkpoints.

    Parameters
    ----------
    params
        What is set, as plain values, and ``function``, its module and name; ``parts``, what it
        keeps of each checkpoint, if it does.
    inputs
        What is read: directories of entries.
    out
        Directory to write to.
    store
        Root of the store.
    """
    from pydantic import TypeAdapter

    from emodrift.drift.parts import load_found, save_found
    from emodrift.store.parts import keep_parts

    module, _, function = params["function"].partition(":")
    summarise = getattr(import_module(module), function)
    types = get_type_hints(summarise)
    settings = {name: value for name, value in params.items() if name not in ("function", "parts")}
    asked = TypeAdapter(types["params"]).validate_python(settings)
    kept = {}
    if "parts" in params:
        kept["take"] = keep_parts(params["parts"], store, save_found, load_found)
    summarise(asked, types["inputs"](**inputs), out, **kept)
