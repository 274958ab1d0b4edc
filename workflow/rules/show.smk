"""Showing: figures, report, and publication under human names."""


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
    log:
        "results/logs/figure/{key}.log",
    group:
        "shown"
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
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
    log:
        "results/logs/report/{key}.log",
    group:
        "shown"
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
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
    log:
        "results/logs/publication/{key}.log",
    group:
        "shown"
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        f"publish under {PUBLISHED}/"
    script:
        "../scripts/publication.py"
