"""Organisms: tiny models with planted structure, for embedded studies.

Needs: the `organism` section. Makes: ordinary checkpoint directories, which are then discovered
like a user's own.
"""


def trained_entries():
    return plan().of_stage("organism") + plan().of_stage("training")


rule organism:
    input:
        made_from("organism"),
    output:
        "results/store/organism/{key}/manifest.json",
    params:
        entry=described("organism"),
    threads: lambda wildcards: 1 if find_entry(wildcards, "organism").inputs else 2
    log:
        "results/logs/organism/{key}.log",
    message:
        "train {params.entry[label]}"
    script:
        "../scripts/organism.py"


checkpoint organisms:
    input:
        [STORE / entry.place / MANIFEST for entry in trained_entries()],
    output:
        touch(f"results/store/organisms/{digest_value([e.key for e in trained_entries()])}"),
    message:
        "all models are trained; discover their checkpoints"
