"""Warning: indicators, alarms, and how much they depend on choices."""


rule indicators:
    """Indicators, alarms and the audit."""
    input:
        unpack(needed("evocation", "coupling", "reply_behaviour")),
    output:
        entry("indicators"),
    log:
        "results/logs/indicators/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "indicators and alarms"
    script:
        "../scripts/summary.py"


rule evals:
    """Evals that other tools ran, joined to checkpoints and held against the indicators."""
    input:
        unpack(needed("indicators")),
    output:
        entry("evals"),
    log:
        "results/logs/evals/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "external evals beside the indicators"
    script:
        "../scripts/evals.py"


rule sensitivity:
    """The conclusions of every variant beside the study's own."""
    input:
        unpack(needed("drift", "evocation", "coupling", "indicators")),
    output:
        entry("sensitivity"),
    log:
        "results/logs/sensitivity/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(2),
    params:
        entry=described,
    message:
        "compare the conclusions of all variants"
    script:
        "../scripts/sensitivity.py"


rule signals:
    """What emodrift and its rivals see at every checkpoint of one organism seed."""
    input:
        unpack(needed("activations", "lock", "trained", "evocation", "coupling", "indicators")),
    output:
        entry("signals"),
    log:
        "results/logs/signals/{key}.log",
    params:
        entry=described,
    message:
        "signals of all detectors, {params.entry[label]}"
    script:
        "../scripts/summary.py"


rule comparison:
    """Detectors over organism seeds: thresholds from some, figures from others."""
    input:
        unpack(needed("signals")),
    output:
        entry("comparison"),
    log:
        "results/logs/comparison/{key}.log",
    params:
        entry=described,
    message:
        "compare detectors over organism seeds"
    script:
        "../scripts/summary.py"
