rule table_1:
    """Theorems 3.1 to 3.4 and proposition 2.1, each against simulation in float64 (section 3.3)."""
    output:
        csv=f"{RESULTS}/tables/table_1.csv",
        markdown=f"{RESULTS}/tables/table_1.md",
        html=report(
            f"{RESULTS}/tables/table_1.html",
            caption="../report/target.rst",
            **in_report("table_1", config["theory"]["table_1"]["caption"]),
        ),
    log:
        f"{RESULTS}/logs/table_1.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        settings=config["theory"]["table_1"]["settings"],
        caption=config["theory"]["table_1"]["caption"],
        note=None,
        entries=OF_PAPER,
        code=code_digest(f"{SCRIPTS}/tables/table_1.py", entries=OF_PAPER),
    script:
        "../scripts/tables/table_1.py"


rule theory:
    """alpha(t), predicted and simulated (section 3.3)."""
    output:
        pdf=f"{RESULTS}/figures/theory.pdf",
        png=report(
            f"{RESULTS}/figures/theory.png",
            caption="../report/target.rst",
            **in_report("theory", config["theory"]["theory"]["caption"]),
        ),
    log:
        f"{RESULTS}/logs/theory.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        settings=config["theory"]["theory"]["settings"],
        caption=config["theory"]["theory"]["caption"],
        note=None,
        entries=OF_PAPER,
        code=code_digest(f"{SCRIPTS}/figures/theory.py", entries=OF_PAPER),
    script:
        "../scripts/figures/theory.py"
