"""Vectors: one for each emotion at every checkpoint; the reference's are locked."""


rule vectors:
    """Emotion vectors of one checkpoint at every layer, with their quality."""
    input:
        activations=needed("activations"),
    output:
        entry("vectors"),
    log:
        "results/logs/vectors/{key}.log",
    params:
        entry=described,
    message:
        "vectors of {params.entry[label]}"
    script:
        "../scripts/vectors.py"


rule lock:
    """The reference's unit vectors at one layer, which later checkpoints are asked about."""
    input:
        activations=needed("activations"),
        vectors=needed("vectors"),
    output:
        entry("lock"),
    log:
        "results/logs/lock/{key}.log",
    params:
        entry=described,
    message:
        "lock the vectors of {params.entry[label]}"
    script:
        "../scripts/lock.py"


rule discovery:
    """At the reference: the emotions that harm evokes and that move refusal, and rivals of them."""
    input:
        activations=needed("activations"),
        lock=needed("lock"),
    output:
        entry("discovery"),
    log:
        "results/logs/discovery/{key}.log",
    params:
        entry=described,
    message:
        "look for what harm evokes and what moves refusal at the {params.entry[label]}"
    script:
        "../scripts/discovery.py"
