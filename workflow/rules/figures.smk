for figure, target in FIGURES.items():
    source = f"{SCRIPTS}/figures/{target['script']}.py"
    read = tables_of(source)

    rule:
        name:
            figure
        input:
            **{name: f"{RESULTS}/{name}.parquet" for name in read},
        output:
            pdf=f"{RESULTS}/figures/{figure}.pdf",
            png=report(
                f"{RESULTS}/figures/{figure}.png",
                caption="../report/target.rst",
                **in_report(figure, target["caption"], aliases=ALIASES),
            ),
        log:
            f"{RESULTS}/logs/{figure}.log",
        localrule: True
        conda:
            "../../envs/collapse.yaml"
        threads: 1
        params:
            script=target["script"],
            settings=target_settings(config, STUDY, target["settings"]),
            caption=target["caption"],
            note=target_note(config, STUDY, target["settings"], tables=read),
            entries=ENTRIES,
            code=code_digest(source, entries=ENTRIES),
        script:
            "../scripts/figures/{params.script}.py"
