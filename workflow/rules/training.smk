"""Training: a chat model fine-tuned in the study, soundly or not.

Needs: the `training` section. Makes: ordinary checkpoint directories, which are then discovered
like a user's own.
"""


rule training_base:
    input:
        made_from("training-base"),
    output:
        "results/store/training-base/{key}/manifest.json",
    params:
        entry=described("training-base"),
    threads: 2
    log:
        "results/logs/training-base/{key}.log",
    message:
        "prepare {params.entry[label]}"
    script:
        "../scripts/training-base.py"


rule training:
    input:
        made_from("training"),
    output:
        "results/store/training/{key}/manifest.json",
    params:
        entry=described("training"),
    threads: 2
    log:
        "results/logs/training/{key}.log",
    message:
        "{params.entry[label]}"
    script:
        "../scripts/training.py"
