"""The HTML report: its first page, and the order and the names of its items."""
