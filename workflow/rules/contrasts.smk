"""Contrast data: stories, controls, neutral texts, behaviour prompts and replies."""


rule stories:
    """Stories that a language model writes; each answer is kept as it comes."""
    output:
        entry("stories"),
    log:
        "results/logs/stories/{key}.log",
    resources:
        mem_mb=memory,
        runtime=minutes(12),
    params:
        entry=described,
    message:
        "have {params.entry[label]} written"
    script:
        "../scripts/stories.py"


rule contrasts:
    """The data set of a study, gathered from generators and files, and checked, in parts."""
    input:
        unpack(needed("stories")),
    output:
        entry("contrasts"),
    log:
        "results/logs/contrasts/{key}.log",
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "gather and check the contrast data"
    script:
        "../scripts/contrasts.py"
