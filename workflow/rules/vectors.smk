"""Vectors: one for each emotion at every checkpoint; the reference's are locked.

Needs: activations, also of a twin of the reference with random weights. Makes: vectors with their
quality, and the locked unit directions.
"""


rule vectors:
    input:
        made_from("vectors"),
    output:
        "results/store/vectors/{key}/manifest.json",
    params:
        entry=described("vectors"),
    log:
        "results/logs/vectors/{key}.log",
    message:
        "vectors of {params.entry[label]}"
    script:
        "../scripts/vectors.py"


rule lock:
    input:
        made_from("lock"),
    output:
        "results/store/lock/{key}/manifest.json",
    params:
        entry=described("lock"),
    log:
        "results/logs/lock/{key}.log",
    message:
        "lock the vectors of {params.entry[label]}"
    script:
        "../scripts/lock.py"
