"""Showing: figures, report, and publication under human names."""


rule figures:
    """Draw what is missing of the figures, each as PDF, SVG, PNG and CSV."""
    input:
        unpack(needed("tables")),
    output:
        entry("figures"),
        report(
            directory("results/store/figures/{key}/images"),
            patterns=["{name}.svg"],
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{name}"},
        ),
    log:
        "results/logs/figures/{key}.log",
    group:
        "summaries"
    threads: 4
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        "draw {params.entry[label]}"
    script:
        "../scripts/figures.py"


rule report:
    """The report: one HTML page that needs no network."""
    input:
        unpack(needed("lock", "tables", "figures")),
    output:
        entry("report"),
    log:
        "results/logs/report/{key}.log",
    group:
        "summaries"
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
        unpack(needed("report", "tables", "figures")),
    output:
        update(f"{PUBLISHED}/.published/{{key}}"),
    log:
        "results/logs/publication/{key}.log",
    group:
        "summaries"
    resources:
        mem_mb=memory,
        runtime=minutes(0.5),
    params:
        entry=described,
    message:
        f"publish under {PUBLISHED}/"
    script:
        "../scripts/publication.py"
