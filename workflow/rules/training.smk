"""Training: a chat model fine-tuned in the study, soundly or not.

Its checkpoints are ordinary Trainer folders, which are then discovered like a user's own.
"""


rule training_base:
    """The base as a plain model, and its own replies to benign prompts."""
    output:
        entry("training-base"),
    log:
        "results/logs/training-base/{key}.log",
    threads: 2
    resources:
        mem_mb=memory,
        runtime=minutes(2),
    params:
        entry=described,
    message:
        "prepare {params.entry[label]}"
    script:
        "../scripts/training-base.py"


rule training:
    """One run of fine-tuning, from the base or from another run's last checkpoint."""
    input:
        unpack(needed("base", "start")),
    output:
        entry("training"),
    log:
        "results/logs/training/{key}.log",
    threads: 2
    resources:
        mem_mb=memory,
        runtime=minutes(12),
    params:
        entry=described,
    message:
        "{params.entry[label]}"
    script:
        "../scripts/training.py"
