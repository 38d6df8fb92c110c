"""From params.yaml to the run table: parameters and their checks, runs and their keys, learning rate
schedules.
"""
