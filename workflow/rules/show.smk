"""Showing: figures, report, and publication under human names.

Needs: tables. Makes: each figure as an entry of its own, report.html, and results/<study>/.
"""

PUBLISHED = RESULTS / STUDY.name


def published(wildcards):
    """Target: the study's publication, known once all models are trained."""
    if STUDY.organism or STUDY.training:
        checkpoints.organisms.get()
    return PUBLISHED / ".published" / plan().publication.key


forget_incomplete(PUBLISHED)


rule figure:
    input:
        made_from("figure"),
    output:
        "results/store/figure/{key}/manifest.json",
        report(
            "results/store/figure/{key}/figure.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda wildcards: {"figure": find_entry(wildcards, "figure").label},
        ),
    params:
        entry=described("figure"),
    log:
        "results/logs/figure/{key}.log",
    message:
        "draw figure {params.entry[label]}"
    script:
        "../scripts/figure.py"


rule report:
    input:
        made_from("report"),
    output:
        "results/store/report/{key}/manifest.json",
    params:
        entry=described("report"),
    log:
        "results/logs/report/{key}.log",
    message:
        "write the report of {params.entry[label]}"
    script:
        "../scripts/report.py"


rule publication:
    input:
        made_from("publication"),
    output:
        f"{PUBLISHED}/.published/{{key}}",
    params:
        entry=described("publication"),
    message:
        f"publish under {PUBLISHED}/"
    script:
        "../scripts/publication.py"
