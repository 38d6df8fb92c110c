"""What every job leaves beside its results: a log and a record of what it read and wrote, by which code and
when.

`code_digest` says which code made a file, whatever its comments and formatting.
"""
