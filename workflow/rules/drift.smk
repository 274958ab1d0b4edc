"""Drift: tables over all checkpoints, each by the function that its module declares."""


rule drift:
    """Direction: how the vectors of every checkpoint stand to the locked ones."""
    input:
        vectors=needed("vectors"),
        activations=needed("activations"),
        twin=needed("twin"),
        lock=needed("lock"),
    output:
        entry("drift"),
    log:
        "results/logs/drift/{key}.log",
    params:
        entry=described,
    message:
        "drift of all vectors from the locked ones"
    script:
        "../scripts/summary.py"


rule evocation:
    """Use: what prompts evoke along the locked vectors."""
    input:
        activations=needed("activations"),
        lock=needed("lock"),
        discovery=needed("discovery"),
    output:
        entry("evocation"),
    log:
        "results/logs/evocation/{key}.log",
    params:
        entry=described,
    message:
        "evocation of the locked vectors by prompts"
    script:
        "../scripts/summary.py"


rule coupling:
    """Effect: what the locked vectors do to replies."""
    input:
        activations=needed("activations"),
        responses=needed("responses"),
        lock=needed("lock"),
        discovery=needed("discovery"),
    output:
        entry("coupling"),
    log:
        "results/logs/coupling/{key}.log",
    params:
        entry=described,
    message:
        "coupling of the locked vectors to replies"
    script:
        "../scripts/summary.py"


rule rivals:
    """Directions that know nothing of emotions, beside caution."""
    input:
        activations=needed("activations"),
        lock=needed("lock"),
        discovery=needed("discovery"),
    output:
        entry("rivals"),
    log:
        "results/logs/rivals/{key}.log",
    params:
        entry=described,
    message:
        "rivals of caution"
    script:
        "../scripts/summary.py"


rule fragmentation:
    """Sub-directions of each emotion."""
    input:
        activations=needed("activations"),
        lock=needed("lock"),
    output:
        entry("fragmentation"),
    log:
        "results/logs/fragmentation/{key}.log",
    params:
        entry=described,
    message:
        "sub-directions of each emotion"
    script:
        "../scripts/summary.py"


rule reply_behaviour:
    """What generated replies do, beside the scores of reply classes."""
    input:
        verdicts=needed("verdicts"),
        activations=needed("activations"),
    output:
        entry("reply_behaviour"),
    log:
        "results/logs/reply_behaviour/{key}.log",
    params:
        entry=described,
    message:
        "behaviour in generated replies"
    script:
        "../scripts/summary.py"
