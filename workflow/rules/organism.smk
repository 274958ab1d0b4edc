"""Organisms: tiny models with planted structure, for embedded studies.

They are ordinary checkpoint folders, which are then discovered like a user's own.
"""


rule organism:
    """Train one run of tiny models, from scratch or from another run's last checkpoint."""
    input:
        unpack(needed("start")),
    output:
        entry("organism"),
    log:
        "results/logs/organism/{key}.log",
    group:
        "organisms"
    threads: lambda wildcards: 1 if find_entry(wildcards).inputs else 2
    resources:
        mem_mb=memory,
        runtime=minutes(1),
    params:
        entry=described,
    message:
        "train {params.entry[label]}"
    script:
        "../scripts/organism.py"
