"""Contrast data: stories, controls, neutral texts and behaviour prompts.

Needs: generators and resource files. Makes: the checked data set, in parts.
"""


rule contrasts:
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
