"""Contrast data: stories, controls, neutral texts and behaviour prompts.

Needs: generators, files, and models that write. Makes: written stories, each answer kept as it
comes; the checked data set, in parts.
"""


rule stories:
    output:
        "results/store/stories/{key}/manifest.json",
    params:
        entry=described("stories"),
    log:
        "results/logs/stories/{key}.log",
    message:
        "have {params.entry[label]} written"
    script:
        "../scripts/stories.py"


rule contrasts:
    input:
        made_from("contrasts"),
    output:
        "results/store/contrasts/{key}/manifest.json",
    params:
        entry=described("contrasts"),
    log:
        "results/logs/contrasts/{key}.log",
    message:
        "gather and check the contrast data"
    script:
        "../scripts/contrasts.py"
