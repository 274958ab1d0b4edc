"""Measurements: what is read off one checkpoint.

Needs: a checkpoint and the contrast data; responses also the locked vectors. Makes: activations
(prompt, layer, hidden), unsteered scores of replies and the metrics' gradients (target, layer,
hidden); steered scores.
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
