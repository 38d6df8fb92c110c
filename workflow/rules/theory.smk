# What needs no run: closed forms and theorems, each against simulation (section 3.3). Names as in targets.yaml.
for table in filter(is_table, THEORY):

    rule:
        name:
            table
        output:
            csv=f"{RESULTS}/tables/{table}.csv",
            markdown=f"{RESULTS}/tables/{table}.md",
            html=report(
                f"{RESULTS}/tables/{table}.html",
                caption="../report/target.rst",
                **in_report(table, THEORY[table]["caption"]),
            ),
        log:
            f"{RESULTS}/logs/{table}.log",
        localrule: True
        conda:
            "../../envs/collapse.yaml"
        threads: 1
        params:
            script=THEORY[table]["script"],
            settings=THEORY[table]["settings"],
            caption=THEORY[table]["caption"],
            note=None,
            entries=of_theory(THEORY[table]),
            code=code_digest(
                f"{SCRIPTS}/tables/{THEORY[table]['script']}.py", entries=of_theory(THEORY[table])
            ),
        script:
            "../scripts/tables/{params.script}.py"


for figure in filterfalse(is_table, THEORY):

    rule:
        name:
            figure
        output:
            pdf=f"{RESULTS}/figures/{figure}.pdf",
            png=report(
                f"{RESULTS}/figures/{figure}.png",
                caption="../report/target.rst",
                **in_report(figure, THEORY[figure]["caption"]),
            ),
        log:
            f"{RESULTS}/logs/{figure}.log",
        localrule: True
        conda:
            "../../envs/collapse.yaml"
        threads: 1
        params:
            script=THEORY[figure]["script"],
            settings=THEORY[figure]["settings"],
            caption=THEORY[figure]["caption"],
            note=None,
            entries=of_theory(THEORY[figure]),
            code=code_digest(
                f"{SCRIPTS}/figures/{THEORY[figure]['script']}.py", entries=of_theory(THEORY[figure])
            ),
        script:
            "../scripts/figures/{params.script}.py"
