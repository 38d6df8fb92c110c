for table, target in TABLES.items():
    source = f"{SCRIPTS}/tables/{target['script']}.py"
    read = tables_of(source, "make")

    rule:
        name:
            table
        input:
            **{name: f"{RESULTS}/{name}.parquet" for name in read},
        output:
            csv=f"{RESULTS}/tables/{table}.csv",
            markdown=f"{RESULTS}/tables/{table}.md",
            html=report(
                f"{RESULTS}/tables/{table}.html",
                caption="../report/target.rst",
                **in_report(table, target["caption"]),
            ),
        log:
            f"{RESULTS}/logs/{table}.log",
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
            "../scripts/tables/{params.script}.py"
