# A figure that the paper prints again is one target with two names.
for alias, target in ALIASES.items():

    rule:
        name:
            alias
        input:
            f"{RESULTS}/figures/{target}.pdf",


# What this study has no runs for: asking for it says which, before anything is done.
for target, reason in LACKING.items():

    rule:
        name:
            target
        input:
            refusal(reason),
