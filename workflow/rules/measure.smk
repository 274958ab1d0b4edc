"""Measurements: what is read off checkpoints, and what a judge makes of their replies."""


rule visit:
    """Load checkpoints, one after the other, and make what is missing of their measurements.

    Activations of texts and prompts (prompt, layer, hidden); scores of replies and the metrics'
    gradients (target, layer, hidden); scores under steering; replies. Each is an entry of its own.
    """
    input:
        unpack(needed("contrasts", "phrasings", "lock", "discovery", "earlier")),
    output:
        entry("visit"),
    log:
        "results/logs/visit/{key}.log",
    priority: 1
    group:
        of_visit
    resources:
        mem_mb=memory,
        runtime=minutes(4),
    params:
        entry=described,
    message:
        "measure {params.entry[label]}"
    script:
        "../scripts/visit.py"


rule judging:
    """What each reply of a visit's checkpoints does, as a judge has it."""
    input:
        unpack(needed("replies", "contrasts")),
    output:
        entry("judging"),
    log:
        "results/logs/judging/{key}.log",
    group:
        of_visit
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "judge the replies of {params.entry[label]}"
    script:
        "../scripts/judging.py"


rule phrasings:
    """Phrasings of reply classes, from replies that the checkpoints wrote."""
    input:
        unpack(needed("verdicts", "contrasts")),
    output:
        entry("phrasings"),
    log:
        "results/logs/phrasings/{key}.log",
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "find the phrasings of the checkpoints' own replies"
    script:
        "../scripts/phrasings.py"


rule agreement:
    """How the judge agrees with people."""
    output:
        entry("agreement"),
    log:
        "results/logs/agreement/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "compare the judge of replies with people"
    script:
        "../scripts/agreement.py"
