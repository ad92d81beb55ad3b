"""The page of `fg report` where the rows are sentences: what is given back, what is drawn, what is best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fgcli.artifacts import Artifact
from fgcli.grammars.languages import SCORES
from fgcli.reports.images import Picture, picture
from fgcli.reports.page import render
from fgcli.reports.provenance import origins
from fgcli.reports.written import SIDE
from fgcli.reports.written import picture as drawn

SHARES = {"valid": "valid", "unique": "unique", "novel": "new", "score": "mean score"}
"""Numbers of the table, and what readers call them."""


def page(
    stored: Mapping[str, Artifact],
    numbers: Mapping[str, Any],
    samples: Mapping[str, Sequence[str | None]],
    given_back: Sequence[tuple[str, str | None]],
    left_out: Mapping[str, str],
) -> str:
    """HTML of an evaluation.

    Args:
        stored: the artifacts, by name. numbers: of metrics.json.
        samples: draws to show, by set. given_back: held-out sentences, and what their codes give.
        left_out: what the page goes without, and why.
    """
    about, protocols = stored["faces"].meta, stored["evaluation"].meta["protocols"]
    language = about["language"]

    def seen(text: str | None) -> Picture:
        return picture(drawn(language, text), text if text is not None else "does not finish", most=SIDE)

    sets = {"held out": ("real", "held_out")} | {name: ("generator", f"samples_{name}") for name in samples}
    lines = {}
    for title, (side, name) in sets.items():
        found = numbers["sentences"][side][name]
        ranges = numbers.get("intervals", {}).get("sentences", {}).get(side, {}).get(name, {})
        lines[title] = {key: (found.get(key), ranges.get(key)) for key in SHARES} | {"drawn": found["drawn"]}
    best = {
        title: [(seen(text), text, value) for text, value in protocols["sentences"]["best"]["/".join(place)]]
        for title, place in sets.items()
    }
    content = {
        "title": f"Sentences: {about['source']}, by {stored['generator'].meta['build']['name']}",
        "source": about["source"],
        "licence": about["licence"],
        "count": len(stored["faces"]["split"]),
        "steps": stored["generator"].meta["build"]["image_shape"][2],
        "rules": about["rules"],
        "score": SCORES.get(language, ""),
        "exact": numbers["reconstruction"]["generator"]["exact"],
        "held": numbers["reconstruction"]["generator"]["sentences"],
        "values": protocols["sentences"]["values"],
        "note": protocols["sentences"].get("note", ""),
        "shares": SHARES,
        "lines": lines,
        "best": {title: found for title, found in best.items() if found},
        "samples": {title: [seen(text) for text in texts] for title, texts in samples.items()},
        "given_back": [(seen(text), seen(back), text, back) for text, back in given_back],
        "rejected": list(zip(stored["faces"]["rejected/source"], stored["faces"]["rejected/reason"], strict=True)),
        "left_out": left_out,
        "origins": origins(stored),
    }
    return render(content, "written.html.jinja")
