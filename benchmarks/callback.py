"""What `AuditCallback` costs a training run, at three intervals.

``python -m benchmarks.callback config/examples/smoke.yaml``, after ``make smoke``: the study's
reference is trained on its own stories, unwatched and watched in turn, and a table is printed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch
from transformers import Trainer, TrainingArguments

from emodrift.checkpoints.checkpoint import find_reference
from emodrift.config.reading import read_study
from emodrift.models.loading import load_network
from emodrift.plan.study import plan_study
from emodrift.training import AuditCallback, Watch

RESULTS = Path("results")
INTERVALS = (100, 50, 20)
UNLIMITED = 1e9


def main() -> None:
    """Time runs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    plain, _ = time_training(options.config, options.steps, options.batch, None)
    print("| interval | measurements | seconds each | overhead |\n| --- | --- | --- | --- |")
    for interval in INTERVALS:
        watch = Watch(every=interval, share=UNLIMITED)
        seconds, callback = time_training(options.config, options.steps, options.batch, watch)
        number = len(callback.rows)
        training = seconds - callback.spent - callback.start_seconds
        print(
            f"| {interval} steps | {number} | {callback.spent / number:.2f} | "
            f"{100 * callback.spent / training:.1f} % |"
        )
    print(f"\n{options.steps} steps without a callback: {plain:.1f} s.")


def time_training(
    config: Path, steps: int, batch: int, watch: Watch | None
) -> tuple[float, AuditCallback | None]:
    """Seconds of a training run from its first step on, and the callback that watched it."""
    study = read_study(config)
    plan = plan_study(study, RESULTS)
    reference = find_reference(plan.checkpoints, study.reference)
    loading = study.compute.model_dump(mode="json")
    network, tokenizer = load_network(
        reference.location, loading, study.compute.dtype, reference.label
    )
    network.requires_grad_(True).train()
    callback = AuditCallback.of_lock(config, watch or Watch(), RESULTS)
    texts = [story["text"] for story in callback.instrument.probe.stories]
    rows = [tokenizer(texts[i % len(texts)])["input_ids"][:128] for i in range(steps * batch)]
    width = max(map(len, rows))
    data = [
        {
            "input_ids": torch.tensor(row + [0] * (width - len(row))),
            "labels": torch.tensor(row + [-100] * (width - len(row))),
        }
        for row in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=steps,
            per_device_train_batch_size=batch,
            learning_rate=1e-6,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        )
        trainer = Trainer(network, arguments, train_dataset=data, processing_class=tokenizer)
        if watch:
            callback.attach(trainer)
        began = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - began
    return seconds, callback if watch else None


if __name__ == "__main__":
    main()
