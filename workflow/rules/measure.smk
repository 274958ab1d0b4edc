"""Measurements: what is read off one checkpoint.

Needs: a checkpoint and the contrast data; responses and replies also the locked vectors. Makes:
activations (prompt, layer, hidden), unsteered scores of replies and the metrics' gradients (target,
layer, hidden); steered scores; and, where the config has a `generation` section, replies with a
judge's verdicts.
"""


rule activations:
    input:
        made_from("activations"),
    output:
        "results/store/activations/{key}/manifest.json",
    params:
        entry=described("activations"),
    priority: 1  # a checkpoint is done with before the next is loaded
    log:
        "results/logs/activations/{key}.log",
    message:
        "activations and gradients of {params.entry[label]}"
    script:
        "../scripts/activations.py"


rule responses:
    input:
        made_from("responses"),
    output:
        "results/store/responses/{key}/manifest.json",
    params:
        entry=described("responses"),
    log:
        "results/logs/responses/{key}.log",
    message:
        "responses of {params.entry[label]} to steering"
    script:
        "../scripts/responses.py"


rule replies:
    input:
        made_from("replies"),
    output:
        "results/store/replies/{key}/manifest.json",
    params:
        entry=described("replies"),
    priority: 1
    log:
        "results/logs/replies/{key}.log",
    message:
        "judge the replies of {params.entry[label]}, unsteered and steered"
    script:
        "../scripts/replies.py"
