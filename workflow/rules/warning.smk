"""Warning: indicators and alarms.

Needs: the three changes. Makes: the indicators' table and audit.json.
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
