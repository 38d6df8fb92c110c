"""The explorer's page: template, data and Vega put together into one file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

import pandas as pd
import vl_convert

from collapse.paper.explorer.tables import page_data


def explorer_page(
    runs: pd.DataFrame, history: pd.DataFrame, *, study: str, title: str, notes: Sequence[str], template: str
) -> str:
    """The page as HTML. `notes` say at what scale the study is.

    In `template`, "{{name}}" stands for the study, the title, the notes, the data and Vega's code.
    """
    parts = {
        "study": escape(study),
        "title": escape(title),
        "notes": "".join(f"<li>{escape(note)}</li>" for note in notes),
        "data": in_script(json.dumps({"study": study} | page_data(runs, history), allow_nan=False)),
        "vega": in_script(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")),
    }
    page = template
    for name, text in parts.items():
        page = page.replace("{{" + name + "}}", text)
    return page


def in_script(text: str) -> str:
    """Code or JSON that may stand in a <script>: no end tag within."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
