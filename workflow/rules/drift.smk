"""Drift: tables over all checkpoints, each by the function that its module declares."""


rule drift:
    """Direction: how the vectors of every checkpoint stand to the locked ones."""
    input:
        unpack(needed("vectors", "activations", "twin", "lock")),
    output:
        entry("drift"),
    log:
        "results/logs/drift/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(2),
    params:
        entry=described,
    message:
        "drift of all vectors from the locked ones"
    script:
        "../scripts/summary.py"


rule evocation:
    """Use: what prompts evoke along the locked vectors."""
    input:
        unpack(needed("activations", "lock", "discovery")),
    output:
        entry("evocation"),
    log:
        "results/logs/evocation/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(2),
    params:
        entry=described,
    message:
        "evocation of the locked vectors by prompts"
    script:
        "../scripts/summary.py"


rule coupling:
    """Effect: what the locked vectors do to replies."""
    input:
        unpack(needed("activations", "responses", "lock", "discovery")),
    output:
        entry("coupling"),
    log:
        "results/logs/coupling/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(2),
    params:
        entry=described,
    message:
        "coupling of the locked vectors to replies"
    script:
        "../scripts/summary.py"


rule rivals:
    """Directions that know nothing of emotions, beside caution."""
    input:
        unpack(needed("activations", "lock", "discovery")),
    output:
        entry("rivals"),
    log:
        "results/logs/rivals/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "rivals of caution"
    script:
        "../scripts/summary.py"


rule fragmentation:
    """Sub-directions of each emotion."""
    input:
        unpack(needed("activations", "lock")),
    output:
        entry("fragmentation"),
    log:
        "results/logs/fragmentation/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(2),
    params:
        entry=described,
    message:
        "sub-directions of each emotion"
    script:
        "../scripts/summary.py"


rule reply_behaviour:
    """What generated replies do, beside the scores of reply classes."""
    input:
        unpack(needed("verdicts", "activations")),
    output:
        entry("reply_behaviour"),
    log:
        "results/logs/reply_behaviour/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "behaviour in generated replies"
    script:
        "../scripts/summary.py"
