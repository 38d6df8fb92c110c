report: "../report/first_page.rst"


rule summary:
    """The report's first page: what was run, on what, by which code, and what came of the claims."""
    input:
        **{name: f"{RESULTS}/tables/{name}.csv" for name in ANALYSIS if name == "comparison"},
        runs=f"{RESULTS}/runs.parquet",
        claims=f"{RESULTS}/tables/claims.csv",
    output:
        html=f"{RESULTS}/summary.html",
    log:
        f"{RESULTS}/logs/summary.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        study=STUDY,
        title=config["studies"][STUDY]["title"],
        notes=scale_notes(config, STUDY),
        citation=FAMILY.citation,
        lacking=list(LACKING),
        entries=ENTRIES,
        code=code_digest(f"{SCRIPTS}/summary.py", entries=ENTRIES),
    script:
        "../scripts/summary.py"


rule explorer:
    """All runs and their histories in one page, to choose from and click through."""
    input:
        runs=f"{RESULTS}/runs.parquet",
        history=f"{RESULTS}/history.parquet",
        page=ancient(EXPLORER),  # params.digest says what they say
    output:
        html=report(
            f"{RESULTS}/explorer.html",
            caption="../report/target.rst",
            **in_report("explorer", EXPLORER_CAPTION),
        ),
    log:
        f"{RESULTS}/logs/explorer.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        study=STUDY,
        title=config["studies"][STUDY]["title"],
        notes=scale_notes(config, STUDY),
        caption=EXPLORER_CAPTION,
        note=face_note(scale_notes(config, STUDY)),
        entries=ENTRIES,
        code=code_digest(f"{SCRIPTS}/explorer.py", entries=ENTRIES),
        digest=page_digest(EXPLORER),
    script:
        "../scripts/explorer.py"
