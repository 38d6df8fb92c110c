"""The paper's tables, figures and claims, made of the two tidy tables `runs` and `history` alone.

`targets` says what a study can show and at which scale; `selection` picks the runs; `tables`, `figures`,
`claims`, `comparison` and `report` make what is shown. The settings are in targets.yaml.
"""
