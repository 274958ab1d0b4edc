"""Contrast data: stories, controls, neutral texts, behaviour prompts and replies."""


rule stories:
    """Stories that a language model writes; each answer is kept as it comes."""
    output:
        entry("stories"),
    params:
        entry=described,
    log:
        "results/logs/stories/{key}.log",
    message:
        "have {params.entry[label]} written"
    script:
        "../scripts/stories.py"


rule contrasts:
    """The data set of a study, gathered from generators and files, and checked, in parts."""
    input:
        stories=needed("stories"),
    output:
        entry("contrasts"),
    params:
        entry=described,
    log:
        "results/logs/contrasts/{key}.log",
    message:
        "gather and check the contrast data"
    script:
        "../scripts/contrasts.py"
