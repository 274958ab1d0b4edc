"""Organisms: tiny models with planted structure, for embedded studies.

Needs: the `organism` section. Makes: ordinary checkpoint directories, which are then discovered
like a user's own.
"""


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
        [STORE / entry.place / MANIFEST for entry in plan().of_stage("organism")],
    output:
        touch(f"results/store/organisms/{digest_value([e.key for e in plan().of_stage('organism')])}"),
    message:
        "all organisms are trained; discover their checkpoints"
