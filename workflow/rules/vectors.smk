"""Vectors: one for each emotion at every checkpoint; the reference's are locked."""


rule fitting:
    """Emotion vectors of a visit's checkpoints at every layer, with their quality."""
    input:
        unpack(needed("activations")),
    output:
        entry("fitting"),
    log:
        "results/logs/fitting/{key}.log",
    group:
        of_visit
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "fit vectors of {params.entry[label]}"
    script:
        "../scripts/fitting.py"


rule lock:
    """The reference's unit vectors at one layer, which later checkpoints are asked about."""
    input:
        unpack(needed("activations", "vectors")),
    output:
        entry("lock"),
    log:
        "results/logs/lock/{key}.log",
    group:
        of_visit
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "lock the vectors of {params.entry[label]}"
    script:
        "../scripts/lock.py"


rule discovery:
    """At the reference: the emotions that harm evokes and that move refusal, and rivals of them."""
    input:
        unpack(needed("activations", "lock")),
    output:
        entry("discovery"),
    log:
        "results/logs/discovery/{key}.log",
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "look for what harm evokes and what moves refusal at the {params.entry[label]}"
    script:
        "../scripts/discovery.py"
