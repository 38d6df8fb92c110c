"""The command line, a module a subcommand: `collapse runs`, `plan`, `train`, `measure`, `lineage` and the
others.

`main` parses the command line. The other modules print; what they compute is in the packages below.
"""
