"""What tests read of README and docs: text, tables and printed numbers."""

from decimal import Decimal

from conftest import ROOT


def read(name):
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text):
    """The text on one line, so that a sentence can be found in it."""
    return " ".join(text.split())


def table_under(text, heading):
    """The first table under a heading, as dicts by the names of the columns."""
    lines = f"\n{text}".partition(f"\n{heading}\n")[2].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]


def as_printed(value, text):
    """A value to the digits of a printed number: 0.3469 as "0.347" is, 0.000205 as "2.05e-4" is."""
    sign, digits, exponent = Decimal(text).as_tuple()
    return Decimal(float(value)).quantize(Decimal((sign, digits, exponent))) == Decimal(text)
