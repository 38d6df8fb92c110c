rule claims:
    """The claims of the work (section 3, appendix D) and ours beyond it, judged on this study."""
    input:
        # The script's arguments are named after the tables that it reads.
        **{
            name: f"{RESULTS}/tables/{name}.csv" if name in THEORY else f"{RESULTS}/{name}.parquet"
            for name in tables_of(f"{SCRIPTS}/tables/{ANALYSIS['claims']['script']}.py", "make")
            if name != "notes"
        },
    output:
        csv=f"{RESULTS}/tables/claims.csv",
        markdown=f"{RESULTS}/tables/claims.md",
        html=report(
            f"{RESULTS}/tables/claims.html",
            caption="../report/target.rst",
            **in_report("claims", ANALYSIS["claims"]["caption"]),
        ),
    log:
        f"{RESULTS}/logs/claims.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        script=ANALYSIS["claims"]["script"],
        settings=target_settings(config, STUDY, ANALYSIS["claims"]["settings"]),
        caption=ANALYSIS["claims"]["caption"],
        notes=scale_notes(config, STUDY),
        note=face_note(scale_notes(config, STUDY)),
        entries=ENTRIES,
        code=code_digest(f"{SCRIPTS}/tables/{ANALYSIS['claims']['script']}.py", entries=ENTRIES),
    script:
        "../scripts/tables/{params.script}.py"


if "comparison" in ANALYSIS:

    rule comparison:
        """Every number that the paper reports beside ours and the closed form."""
        input:
            runs=f"{RESULTS}/runs.parquet",
            # A comment in it is no change: params.numbers says what it says.
            reported=ancient(REPORTED),
        output:
            csv=f"{RESULTS}/tables/comparison.csv",
            markdown=f"{RESULTS}/tables/comparison.md",
            html=report(
                f"{RESULTS}/tables/comparison.html",
                caption="../report/target.rst",
                **in_report("comparison", ANALYSIS["comparison"]["caption"]),
            ),
        log:
            f"{RESULTS}/logs/comparison.log",
        localrule: True
        conda:
            "../../envs/collapse.yaml"
        threads: 1
        params:
            settings=target_settings(config, STUDY, ANALYSIS["comparison"]["settings"]),
            caption=ANALYSIS["comparison"]["caption"],
            known=paper_scale(config, STUDY),
            numbers=yaml_digest(REPORTED),
            study=STUDY,
            note=None,
            entries=ENTRIES,
            code=code_digest(f"{SCRIPTS}/tables/comparison.py", entries=ENTRIES),
        script:
            "../scripts/tables/comparison.py"


rule key_numbers:
    """What `dvc metrics` compares between versions of the study: verdicts, effects, table 2."""
    input:
        claims=f"{RESULTS}/tables/claims.csv",
        table_2=expand(
            f"{RESULTS}/tables/{{table}}.csv", table=[name for name in TABLES if name == "table_2"]
        ),
    output:
        json=f"{RESULTS}/metrics.json",
    log:
        f"{RESULTS}/logs/key_numbers.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        entries=ENTRIES,
        code=code_digest(f"{SCRIPTS}/key_numbers.py", entries=ENTRIES),
    script:
        "../scripts/key_numbers.py"
