"""The explorer: one HTML file, that needs no network, to choose runs of a study and see what they did."""
