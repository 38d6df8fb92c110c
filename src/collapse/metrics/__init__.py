"""Class statistics of the last layer's features, and the collapse metrics as pure functions of these.

This package reads no file and knows no network.
"""
