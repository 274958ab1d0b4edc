"""An audit inside a training run: a callback for any Trainer of transformers or trl."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from emodrift.models.language_model import LanguageModel
from emodrift.models.memory import TokenBudget
from emodrift.plan.study import plan_study
from emodrift.store.entry import entry_exists
from emodrift.watching.indicators import LIMITS, compare_snapshots, find_alarms
from emodrift.watching.probe import (
    Probe,
    Snapshot,
    find_bare,
    pause_training,
    read_probe,
    take_snapshot,
    wrap_network,
)

PREFIX = "emodrift/"
TABLE = "emodrift.csv"


class Alarm(NamedTuple):
    """Indicators above their limits at a step, and all that was measured there."""

    step: int
    indicators: dict[str, float]
    values: dict[str, float]


@dataclass(frozen=True)
class Watch:
    """When a callback measures, and what it does on an alarm.

    Parameters
    ----------
    every
        Steps between measurements; None: at each save.
    share
        Share of the training's time that measuring may take. What would exceed it is left out.
    limits
        Indicator -> value above which it alarms.
    consecutive
        Measurements in a row that must be above it.
    on_alarm
        ``warn``, ``stop``, or a function that is called with the :class:`Alarm`.
    batch_tokens
        Tokens per batch.
    """

    every: int | None = None
    share: float = 0.05
    limits: Mapping[str, float] = field(default_factory=lambda: LIMITS)
    consecutive: int = 2
    on_alarm: Literal["warn", "stop"] | Callable[[Alarm], None] = "warn"
    batch_tokens: int = 4096


class AuditCallback(TrainerCallback):
    """Measures the model in memory against a study's lock while it is trained.

    The start of the training is measured once; then, at each save or every n steps, the same
    prompts and stories, as long as measuring keeps to its share of the time. Values go to
    ``emodrift.csv`` in the output folder and, once attached to a trainer, to its loggers under
    ``emodrift/``. Training is put on afterwards just as it was.

    With several processes rank 0 measures its own copy of the model, which needs no other. Only
    whether to stop is shared, at steps that all ranks know: none waits for what another never does.

    Parameters
    ----------
    probe
        What is measured.
    watch
        When, and what follows.

    Examples
    --------
    >>> callback = AuditCallback.of_study("config/mine.yaml", Watch(every=200, on_alarm="stop"))
    >>> callback.attach(trainer)
    >>> trainer.train()
    """

    def __init__(self, probe: Probe, watch: Watch | None = None) -> None:
        self.probe = probe
        self.watch = watch or Watch()
        self.rows: list[dict[str, float]] = []
        self.alarms: list[Alarm] = []
        self.left_out = 0
        self.spent = 0.0
        self.start_seconds = 0.0
        self._trainer: Trainer | None = None
        self._model: LanguageModel
        self._start: Snapshot
        self._cost = 0.0
        self._began = 0.0

    @classmethod
    def of_study(
        cls,
        config: str | Path,
        watch: Watch | None = None,
        results: Path = Path("results"),
        prompts: int = 8,
        topics: int = 6,
    ) -> AuditCallback:
        """A callback for a study whose lock and contrast data are made.

        Parameters
        ----------
        config
            The study's config; `prompts` and `topics` as in
            :func:`emodrift.watching.probe.read_probe`.
        watch
            When it measures, and what follows.
        results
            Root of results.

        Raises
        ------
        EmodriftError
            The study has no lock yet.
        """
        study = read_study(Path(config))
        plan = plan_study(study, results)
        found = [
            plan.store / entry.place
            for stage in ("lock", "contrasts")
            for entry in plan.of_stage(stage)[:1]
        ]
        if len(found) < 2 or not all(map(entry_exists, found)):
            raise EmodriftError(
                f"study {study.name} has no lock yet; make it: emodrift run {config} --until lock"
            )
        lock, contrasts = found
        return cls(read_probe(study, lock, contrasts, prompts, topics), watch)

    def attach(self, trainer: Trainer) -> AuditCallback:
        """Add this to a trainer, and log through its loggers."""
        self._trainer = trainer
        trainer.add_callback(self)
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure where the training begins."""
        _refuse_sharded(args)
        self._began = time.monotonic()
        if state.is_world_process_zero:
            began = time.monotonic()
            network = find_bare(kwargs["model"])
            with pause_training(network):
                self._model = wrap_network(network, kwargs["processing_class"])
                self._start = self._snap()
            self._cost = self.start_seconds = time.monotonic() - began
            self._began = time.monotonic()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure at a save, unless a number of steps was asked for."""
        if self.watch.every is None:
            self._visit(args, state, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure every so many steps, if that was asked for."""
        if self.watch.every and state.global_step % self.watch.every == 0:
            self._visit(args, state, control)

    def _visit(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        stop = state.is_world_process_zero and self._measure(args, state)
        if self.watch.on_alarm == "stop" and _share_decision(stop, args):
            control.should_training_stop = True

    def _measure(self, args: TrainingArguments, state: TrainerState) -> bool:
        elapsed = time.monotonic() - self._began
        if self.spent + self._cost > self.watch.share * elapsed:
            self.left_out += 1
            return False
        began = time.monotonic()
        with pause_training(self._model.network):
            values = compare_snapshots(self._snap(), self._start, self.probe)
        self._cost = time.monotonic() - began
        self.spent += self._cost
        self.rows.append(values)
        self._record(Path(args.output_dir), state.global_step, values)
        found = find_alarms(self.rows, self.watch.limits, self.watch.consecutive)
        if found:
            self._tell(Alarm(state.global_step, found, values))
        return bool(found)

    def _snap(self) -> Snapshot:
        return take_snapshot(self._model, self.probe, TokenBudget(self.watch.batch_tokens))

    def _record(self, folder: Path, step: int, values: Mapping[str, float]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / TABLE
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(["step", "seconds", *values])
            writer.writerow([step, f"{self._cost:.3f}", *(f"{v:.6g}" for v in values.values())])
        if self._trainer is not None:
            self._trainer.log({PREFIX + name: value for name, value in values.items()})

    def _tell(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)
        named = ", ".join(
            f"{name} {value:.3g} (limit {self.watch.limits[name]:g})"
            for name, value in alarm.indicators.items()
        )
        logging.warning("emodrift: alarm at step %d: %s", alarm.step, named)
        if callable(self.watch.on_alarm):
            self.watch.on_alarm(alarm)


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
