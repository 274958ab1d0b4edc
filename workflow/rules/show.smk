"""Showing: figures, report, and publication under human names."""

PUBLISHED = RESULTS / STUDY.name


def published(wildcards):
    """Target: the study's publication, known once what later keys rest on is there."""
    while plan().awaited and not workflow.dryrun:
        checkpoints.milestone.get(key=awaited_key())
    if plan().publication is None:
        return list_manifests(plan().awaited)
    return PUBLISHED / ".published" / plan().publication.key


forget_incomplete(PUBLISHED)


rule figure:
    """One figure, as PDF, SVG, PNG and CSV."""
    input:
        tables=needed("tables"),
    output:
        entry("figure"),
        report(
            "results/store/figure/{key}/figure.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels=lambda wildcards: {"figure": find_entry(wildcards).label},
        ),
    params:
        entry=described,
    log:
        "results/logs/figure/{key}.log",
    message:
        "draw figure {params.entry[label]}"
    script:
        "../scripts/figure.py"


rule report:
    """The report: one HTML page that needs no network."""
    input:
        lock=needed("lock"),
        tables=needed("tables"),
        figures=needed("figures"),
    output:
        entry("report"),
    params:
        entry=described,
    log:
        "results/logs/report/{key}.log",
    message:
        "write the report of {params.entry[label]}"
    script:
        "../scripts/report.py"


rule publication:
    """Everything a person reads, under human names."""
    input:
        report=needed("report"),
        tables=needed("tables"),
        figures=needed("figures"),
    output:
        f"{PUBLISHED}/.published/{{key}}",
    params:
        entry=described,
    log:
        "results/logs/publication/{key}.log",
    message:
        f"publish under {PUBLISHED}/"
    script:
        "../scripts/publication.py"
