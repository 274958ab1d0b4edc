"""Warning: indicators, alarms, and how much they depend on choices.

Needs: the three changes; of every variant too, where the study has variants. Makes: the indicators'
table and audit.json; the conclusions of every variant.
"""


rule indicators:
    input:
        made_from("indicators"),
    output:
        "results/store/indicators/{key}/manifest.json",
    params:
        entry=described("indicators"),
    log:
        "results/logs/indicators/{key}.log",
    message:
        "indicators and alarms"
    script:
        "../scripts/indicators.py"


rule sensitivity:
    input:
        made_from("sensitivity"),
    output:
        "results/store/sensitivity/{key}/manifest.json",
    params:
        entry=described("sensitivity"),
    log:
        "results/logs/sensitivity/{key}.log",
    message:
        "compare the conclusions of all variants"
    script:
        "../scripts/sensitivity.py"
