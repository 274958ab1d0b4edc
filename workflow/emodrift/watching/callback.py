"""An audit inside a training run: a callback for any Trainer of transformers or trl."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch.distributed
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from emodrift.config.reading import read_study
from emodrift.errors import EmodriftError
from emodrift.plan.watched import plan_watched
from emodrift.watching.glance import Glance
from emodrift.watching.instrument import Found, Instrument, Training, keep_settings
from emodrift.watching.probe import read_probe
from emodrift.watching.saves import THREADS, SavedCheckpoints

PREFIX = "emodrift/"
TABLE = "emodrift.csv"
BEFORE = ("step", "seconds", "alarm")


class Alarm(NamedTuple):
    """Indicators that alarm at a step, all that was measured there, and the same in words."""

    step: int
    indicators: dict[str, float]
    values: dict[str, float]
    sentence: str


@dataclass(frozen=True)
class Watch:
    """When a callback measures, and what it does on an alarm.

    Parameters
    ----------
    every
        Steps between measurements; None: at each save.
    share
        Time that measuring may take, as a share of the training's own. What would exceed it is left
        out, and the log says so.
    on_alarm
        ``warn``, ``stop``, or a function that is called with the :class:`Alarm`.
    """

    every: int | None = None
    share: float = 0.05
    on_alarm: Literal["warn", "stop"] | Callable[[Alarm], None] = "warn"


class AuditCallback(TrainerCallback):
    """Measures a model while it is trained, and says when an indicator alarms.

    Measuring keeps to its share of the time. Values go to ``emodrift.csv`` in the output folder
    and, once attached to a trainer, to its loggers under ``emodrift/``. The training goes on as if
    nothing had been measured, also where measuring fails: the log then says why.

    With several processes rank 0 measures. Only whether to stop is shared, at steps that all ranks
    know: none waits for what another never does.

    Parameters
    ----------
    instrument
        What it measures with: see :meth:`of_study` and :meth:`of_lock`.
    watch
        When, and what follows.

    Examples
    --------
    >>> callback = AuditCallback.of_study("config/mine.yaml", Watch(on_alarm="stop"))
    >>> callback.attach(trainer)
    >>> trainer.train()
    """

    def __init__(self, instrument: Instrument, watch: Watch | None = None) -> None:
        self.instrument = instrument
        self.watch = watch or Watch()
        self.rows: list[dict[str, float]] = []
        self.alarms: list[Alarm] = []
        self.failures: list[Exception] = []
        self.left_out: list[int] = []
        self.spent = 0.0
        self.start_seconds = 0.0
        self._trainer: Trainer | None = None
        self._began = 0.0
        self._ready = False

    @classmethod
    def of_study(
        cls, config: str | Path, watch: Watch | None = None, results: Path = Path("results")
    ) -> AuditCallback:
        """Measures each saved checkpoint in full, as the study will that reads it.

        The entries are the study's own, so that a later run of it measures nothing again.

        Parameters
        ----------
        config
            The study's config. Its reference must be measured; what this training will save may be
            named already, or not at all.
        watch
            When it measures, and what follows. Where `every` is given, the Trainer is made to save
            at these steps.
        results
            Root of results.

        Raises
        ------
        EmodriftError
            The study has no lock, or its reference is not measured.
        """
        return cls(SavedCheckpoints(read_study(Path(config)), results), watch)

    @classmethod
    def of_lock(
        cls,
        config: str | Path,
        watch: Watch | None = None,
        results: Path = Path("results"),
        prompts: int = 8,
        topics: int = 6,
        **limits: Any,
    ) -> AuditCallback:
        """Glances at the model in memory along a study's locked directions; nothing is saved.

        Parameters
        ----------
        config, watch, results
            As in :meth:`of_study`; the lock must be made.
        prompts, topics
            How much is asked: :func:`emodrift.watching.probe.read_probe`.
        **limits
            Of :class:`emodrift.watching.glance.Glance`.

        Raises
        ------
        EmodriftError
            The study has no lock yet.
        """
        study = read_study(Path(config))
        plan = plan_watched(study, results)
        lock, contrasts = (plan.store / plan.of_stage(s)[0].place for s in ("lock", "contrasts"))
        return cls(Glance(read_probe(study, lock, contrasts, prompts, topics), **limits), watch)

    def attach(self, trainer: Trainer) -> AuditCallback:
        """Add this to a trainer, and log through its loggers."""
        self._trainer = trainer
        trainer.add_callback(self)
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Look at the model where the training begins."""
        _refuse_sharded(args)
        began = time.monotonic()
        if state.is_world_process_zero:
            self._try("in this training", self.instrument.begin, _describe(args, state, kwargs))
            self._ready = not self.failures
        self._began = time.monotonic()
        self.start_seconds = self._began - began

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure, or have the model saved, every so many steps, if that was asked for."""
        if self.watch.every and state.global_step % self.watch.every == 0:
            if self.instrument.reads_saves:
                control.should_save = True
            else:
                self._visit(args, state, control, kwargs)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure at a save."""
        every = self.watch.every
        if every is None or (self.instrument.reads_saves and state.global_step % every == 0):
            self._visit(args, state, control, kwargs)

    def _visit(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        given: Mapping[str, Any],
    ) -> None:
        stop = False
        if self._ready:
            began = time.monotonic()
            place = f"at step {state.global_step}"
            stop = bool(self._try(place, self._measure, _describe(args, state, given), args))
            self.spent += time.monotonic() - began
        if self.watch.on_alarm == "stop" and _share_decision(stop, args):
            control.should_training_stop = True

    def _measure(self, training: Training, args: TrainingArguments) -> bool:
        began = time.monotonic()
        cost = self.instrument.predict_seconds(training)
        room = self.watch.share * (began - self._began - self.spent) - self.spent
        longest = args.ddp_timeout / 2 if args.world_size > 1 else float("inf")
        if cost > min(room, longest):
            self.left_out.append(training.step)
            logging.warning(
                "emodrift: step %d is not measured: that takes about %.1f s, and %.1f s are left "
                "of the share of %g of the training's time%s",
                training.step,
                cost,
                max(room, 0.0),
                self.watch.share,
                f", or {longest:.0f} s before other processes give up waiting"
                if longest < room
                else "",
            )
            return False
        with keep_settings(THREADS if self.instrument.reads_saves else None):
            found = self.instrument.measure(training)
        self._record(training.step, Path(args.output_dir), found, time.monotonic() - began)
        return bool(found.alarms)

    def _record(self, step: int, folder: Path, found: Found, seconds: float) -> None:
        self.rows.append(found.values)
        told = dict(zip(BEFORE, (step, f"{seconds:.3f}", int(bool(found.alarms))), strict=True))
        _append_row(folder / TABLE, told | {n: f"{v:.6g}" for n, v in found.values.items()})
        if self._trainer is not None:
            self._trainer.log({PREFIX + name: value for name, value in found.values.items()})
        if found.alarms:
            alarm = Alarm(step, found.alarms, found.values, found.sentence)
            self.alarms.append(alarm)
            named = ", ".join(found.alarms)
            logging.warning("emodrift: alarm at step %d (%s): %s", step, named, found.sentence)
            if callable(self.watch.on_alarm):
                self.watch.on_alarm(alarm)

    def _try(self, place: str, work: Callable[..., Any], *given: Any) -> Any:
        """Do a piece of work that must not end the training; None where it fails."""
        try:
            return work(*given)
        except Exception as error:
            self.failures.append(error)
            known = isinstance(error, EmodriftError)
            message = "emodrift: nothing is measured %s: %s"
            logging.warning(message, place, error, exc_info=None if known else error)
        return None


def _describe(args: TrainingArguments, state: TrainerState, given: Mapping[str, Any]) -> Training:
    folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
    return Training(given["model"], given["processing_class"], state.global_step, folder)


def _append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row to a table; one with other columns is put aside."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            if next(csv.reader(file), []) != list(row):
                path.replace(path.with_suffix(".csv.old"))
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _share_decision(stop: bool, args: TrainingArguments) -> bool:
    """Rank 0's decision on every rank; each calls this at the same steps."""
    if args.world_size == 1 or not torch.distributed.is_initialized():
        return stop
    decision = torch.tensor([int(stop)], device=args.device)
    torch.distributed.broadcast(decision, src=0)
    return bool(decision.item())


def _refuse_sharded(args: TrainingArguments) -> None:
    zero = getattr(args, "hf_deepspeed_config", None)
    if args.fsdp or (zero is not None and zero.is_zero3()):
        raise EmodriftError(
            "AuditCallback: weights are sharded over processes (FSDP or ZeRO-3), so that no rank "
            "has a model to measure; measure saved checkpoints: emodrift run CONFIG"
        )
