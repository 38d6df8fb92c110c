"""How long something took, for people."""


def duration(seconds: float) -> str:
    """Hours, minutes and seconds: 5938 is "1:38:58"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
