"""A sound and a collapsing run, each watched by `AuditCallback`, which is to stop the second.

``python -m benchmarks.watched_runs``, after ``make smoke``: a plain Trainer trains the study's
reference further, once on the dialogues that it knows, once with one refusal for whatever is asked.
What the callback told is printed. Ends with 1 unless the collapsing run was stopped and the sound
one was not.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

from emodrift.checkpoints.checkpoint import find_reference
from emodrift.config.reading import read_study
from emodrift.grammar.training import Dialogue, sample_dialogues
from emodrift.models.loading import load_network
from emodrift.organisms.texts import encode_dialogues
from emodrift.plan.study import plan_study
from emodrift.training import AuditCallback, Watch

RESULTS = Path("results")
SEED = 77
DIALOGUES = 256
LEARNING_RATE = 1e-3
UNLIMITED = 1e9


def answer_all_alike(dialogues: list[Dialogue]) -> list[Dialogue]:
    """Every prompt answered with the first refusal among the replies."""
    refusal = next(d.reply for d in dialogues if d.suite == "harmful")
    return [d._replace(reply=refusal) for d in dialogues]


RUNS: dict[str, Callable[[list[Dialogue]], list[Dialogue]]] = {
    "sound": list,
    "collapsing": answer_all_alike,
}
"""Run -> what it makes of the dialogues; all else is the same."""


def main() -> int:
    """Train both runs and print what was told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, nargs="?", default="config/examples/smoke.yaml")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--every", type=int, default=20)
    options = parser.parse_args()
    stopped = {}
    for name in RUNS:
        callback, last = train(options.config, name, options.steps, options.every)
        stopped[name] = last < options.steps
        print(f"{name}: {'stopped' if stopped[name] else 'ended'} at step {last}")
        for row in callback.rows:
            print("  ", ", ".join(f"{k} {v:.3g}" for k, v in row.items()))
        for alarm in callback.alarms:
            print(f"   {', '.join(alarm.indicators)}: {alarm.sentence}")
        for failure in callback.failures:
            print(f"   failed: {failure}")
        print(f"   {len(callback.instrument.made)} entries made, {callback.spent:.1f} s")
    return int(stopped != {"sound": False, "collapsing": True})


def train(config: Path, name: str, steps: int, every: int) -> tuple[AuditCallback, int]:
    """Train one run; its callback, and the step at which it ended."""
    study = read_study(config)
    reference = find_reference(plan_study(study, RESULTS).checkpoints, study.reference)
    loading = study.compute.model_dump(mode="json")
    network, tokenizer = load_network(
        reference.location, loading, study.compute.dtype, reference.label
    )
    network.requires_grad_(True).train()
    dialogues = RUNS[name](sample_dialogues("healthy", SEED, DIALOGUES))
    data = encode_dialogues(tokenizer, dialogues)
    folder = RESULTS / "watched" / name
    shutil.rmtree(folder, ignore_errors=True)
    arguments = TrainingArguments(
        output_dir=str(folder),
        max_steps=steps,
        save_strategy="no",
        save_only_model=True,
        per_device_train_batch_size=16,
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
        seed=SEED,
    )
    trainer = Trainer(
        network,
        arguments,
        train_dataset=data,
        data_collator=DataCollatorForSeq2Seq(tokenizer),
        processing_class=tokenizer,
    )
    watch = Watch(every=every, share=UNLIMITED, on_alarm="stop")
    callback = AuditCallback.of_study(config, watch, RESULTS).attach(trainer)
    trainer.train()
    return callback, trainer.state.global_step


if __name__ == "__main__":
    sys.exit(main())
