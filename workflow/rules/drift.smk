"""Drift: the three changes over checkpoints.

Needs: vectors, activations and responses of all checkpoints, and the locked vectors. Makes:
tables of direction (drift), use (evocation), causal effect (coupling) and fragmentation.
"""


rule drift:
    input:
        made_from("drift"),
    output:
        "results/store/drift/{key}/manifest.json",
    params:
        entry=described("drift"),
    log:
        "results/logs/drift/{key}.log",
    message:
        "drift of all vectors from the locked ones"
    script:
        "../scripts/drift.py"


rule evocation:
    input:
        made_from("evocation"),
    output:
        "results/store/evocation/{key}/manifest.json",
    params:
        entry=described("evocation"),
    log:
        "results/logs/evocation/{key}.log",
    message:
        "evocation of the locked vectors by prompts"
    script:
        "../scripts/evocation.py"


rule coupling:
    input:
        made_from("coupling"),
    output:
        "results/store/coupling/{key}/manifest.json",
    params:
        entry=described("coupling"),
    log:
        "results/logs/coupling/{key}.log",
    message:
        "coupling of the locked vectors to replies"
    script:
        "../scripts/coupling.py"


rule fragmentation:
    input:
        made_from("fragmentation"),
    output:
        "results/store/fragmentation/{key}/manifest.json",
    params:
        entry=described("fragmentation"),
    log:
        "results/logs/fragmentation/{key}.log",
    message:
        "sub-directions of each emotion"
    script:
        "../scripts/fragmentation.py"
