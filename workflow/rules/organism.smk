"""Organisms: tiny models with planted structure, for embedded studies.

They are ordinary checkpoint folders, which are then discovered like a user's own.
"""


rule organism:
    """Train one run of tiny models, from scratch or from another run's last checkpoint."""
    input:
        start=needed("start"),
    output:
        entry("organism"),
    params:
        entry=described,
    threads: lambda wildcards: 1 if find_entry(wildcards).inputs else 2
    log:
        "results/logs/organism/{key}.log",
    message:
        "train {params.entry[label]}"
    script:
        "../scripts/organism.py"
