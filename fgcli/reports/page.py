"""The HTML pages: each one file, nothing to fetch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fgcli.reports.tables import between, ends, number, signed

TEMPLATE = "report.html.jinja"


def render(content: Mapping[str, Any], template: str = TEMPLATE) -> str:
    """The page of `content` (names as the template uses them); every text in it is escaped, drawings are not."""
    loader = PackageLoader("fgcli.reports", "")
    page = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )  # fmt: skip
    page.filters |= {"number": number, "signed": signed, "ends": ends, "between": between, "words": words}
    page.filters["drawing"] = Markup
    return page.get_template(template).render(content) + "\n"


def words(name: str) -> str:
    """A name of the code as a reader's words: mouth_open -> mouth open."""
    return name.replace("_", " ")
