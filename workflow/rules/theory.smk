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


rule table_102:
    """What is known of NC0 under the other optimizers, against simulation (docs/beyond-the-paper.md)."""
    output:
        csv=f"{RESULTS}/tables/table_102.csv",
        markdown=f"{RESULTS}/tables/table_102.md",
        html=report(
            f"{RESULTS}/tables/table_102.html",
            caption="../report/target.rst",
            **in_report("table_102", config["theory"]["table_102"]["caption"]),
        ),
    log:
        f"{RESULTS}/logs/table_102.log",
    localrule: True
    conda:
        "../../envs/collapse.yaml"
    threads: 1
    params:
        script=config["theory"]["table_102"]["script"],
        settings=config["theory"]["table_102"]["settings"],
        caption=config["theory"]["table_102"]["caption"],
        note=None,
        entries=OF_TABLE_102,
        code=code_digest(
            f"{SCRIPTS}/tables/{config['theory']['table_102']['script']}.py", entries=OF_TABLE_102
        ),
    script:
        "../scripts/tables/{params.script}.py"


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
