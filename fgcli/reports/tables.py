"""Numbers with what they mean: tables of metrics, probes and key figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fgcli.reports.nouns import Nouns

MODELS = ("generator", "pca")
"""Models of metrics.json that are compared."""
FLOORS = {"nearest": "nearest training {}", "look_alike": "look-alike among them"}
"""What stands beside them without a model; see fgcli/metrics/floors.py."""
ARROWS = {"higher": "↑", "lower": "↓", "one": "→ 1"}
"""Which way is better, as a metric's protocol tells it."""
KEYS = {
    "ssim": "structural similarity of reconstructions (ssim)",
    "l2": "root mean squared error of reconstructions (l2)",
    "identity": "similarity of face embeddings (identity)",
}
"""Metrics of reconstructions that head the page, in words."""
MINUS, DASH = "\u2212", "\u2013"
NOT_NUMBERS = {"images"}


@dataclass(frozen=True)
class Line:
    """One metric or one set: the values of the models, the best of them, how many images, and how it was made."""

    name: str
    images: str
    values: dict[str, float | None]
    better: str
    protocol: str
    details: dict[str, str] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Around the values, over people."""
    margin: tuple[float, float] | None = None
    """Around the difference of MODELS."""

    @property
    def clear(self) -> bool:
        """Whether the interval of the difference of MODELS leaves out 0."""
        return self.margin is not None and (self.margin[0] > 0 or self.margin[1] < 0)

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return ARROWS.get(self.better, "")

    @property
    def best(self) -> str:
        """The model with the best value; empty unless two have one and it is known which way is better."""
        known = {k: v for k, v in self.values.items() if v is not None and k in MODELS}
        if len(known) < 2 or not self.better or len(set(known.values())) == 1:
            return ""
        return min(known, key=lambda k: worse(known[k], self.better))


@dataclass(frozen=True)
class Table:
    """Lines under one title, `columns` naming the values."""

    title: str
    note: str
    columns: dict[str, str]
    lines: list[Line]
    details: dict[str, str] = field(default_factory=dict)


def worse(value: float, better: str) -> float:
    """A number that grows as the value becomes worse."""
    return {"higher": -value, "lower": value, "one": abs(value - 1)}[better]


def paired(numbers: Mapping[str, Any], protocols: Mapping[str, Any], nouns: Nouns) -> list[Table]:
    """A table per mask of the metrics that compare each face with its reconstruction; its title says where."""
    models = numbers.get("reconstruction", {})
    masks = list(dict.fromkeys(mask for entry in models.values() for mask in entry))
    tables = []
    for mask in masks:
        entries = {m: models[m][mask] for m in models if mask in models[m]}
        about = protocols.get("reconstruction", {})
        lines = []
        for name in _metrics(entries):
            places = [(model, f"reconstruction/{model}/{mask}/{name}") for model in entries]
            lines.append(_with_intervals(_paired_line(name, entries, about.get(name, {})), numbers, places))
        note = protocols.get("masks", {}).get(mask, "")
        title = nouns.region if mask == "given_mask" else f"the {mask.replace('_', ' ')}"
        tables.append(Table(title, note, _columns(entries, nouns), lines))
    return tables


def _columns(models: Iterable[str], nouns: Nouns) -> dict[str, str]:
    """What a reader calls models of metrics.json, and the sets of real images beside them."""
    words = {name: text.format(nouns.face) for name, text in FLOORS.items()} | {"pca": nouns.eigenfaces}
    return {name: words.get(name, name) for name in models}


def _with_intervals(line: Line, numbers: Mapping[str, Any], places: Sequence[tuple[str, str]]) -> Line:
    """The line with the intervals of its values, which stand at `places` by model, and of the models' difference."""
    known = {model: _range(numbers.get("intervals", {}), place) for model, place in places}
    ours, theirs = MODELS
    difference = dict(places).get(ours, "").replace(ours, f"{ours}-{theirs}", 1)
    margin = _range(numbers.get("differences", {}), difference)
    return replace(line, intervals={model: found for model, found in known.items() if found}, margin=margin)


def _range(nested: Mapping[str, Any], place: str) -> tuple[float, float] | None:
    for name in place.split("/"):
        nested = nested.get(name, {})
    return (nested["low"], nested["high"]) if nested else None


def _metrics(entries: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = dict.fromkeys(name for entry in entries.values() for name in entry)
    return [n for n in names if n not in NOT_NUMBERS and not (n.endswith("_images") and n[: -len("_images")] in names)]


def _paired_line(name: str, entries: Mapping[str, Mapping[str, float]], protocol: Mapping[str, Any]) -> Line:
    counts = {str(int(e.get(f"{name}_images", e.get("images", 0)))) for e in entries.values()}
    values = {model: entry.get(name) for model, entry in entries.items()}
    return Line(name, " / ".join(sorted(counts)), values, protocol.get("better", ""), *_protocol(protocol))


def distribution(numbers: Mapping[str, Any], protocols: Mapping[str, Any], nouns: Nouns) -> list[Table]:
    """A table per distance between sets of images."""
    found = numbers.get("distribution", {})
    counts = found.get("images", {})
    return [
        _distances(name, entry, counts, protocols, numbers, nouns) for name, entry in found.items() if name != "images"
    ]


def _distances(
    name: str,
    entry: Mapping[str, Mapping[str, float]],
    counts: Mapping[str, Any],
    protocols: Mapping[str, Any],
    numbers: Mapping[str, Any],
    nouns: Nouns,
) -> Table:
    protocol = dict(protocols.get("distribution", {}).get(name, {}))
    caveats = protocol.pop("caveats", {})
    better = protocol.get("better", "")
    summary, details = _protocol(protocol)
    lines = []
    for chosen in dict.fromkeys(s for group in entry.values() for s in group):
        groups = [g for g in entry if chosen in entry[g]]
        n = sorted({str(counts.get(g, {}).get(chosen, "?")) for g in groups})
        said = sorted({caveats.get(f"{g}/{chosen}", "") for g in groups} - {""})
        values = {g: entry[g].get(chosen) for g in entry}
        meaning = _meaning(chosen, groups, protocols.get("sets", {}))
        line = Line(chosen, " / ".join(n), values, better, "; ".join([meaning, *said]))
        lines.append(_with_intervals(line, numbers, [(g, f"distribution/{name}/{g}/{chosen}") for g in groups]))
    return Table(name, summary, _columns(entry, nouns), lines, details)


def _meaning(chosen: str, groups: list[str], sets: Mapping[str, str]) -> str:
    for key in (chosen, *(f"{g}/{chosen}" for g in groups)):
        if key in sets:
            return sets[key]
    if chosen.startswith("samples_"):
        return sets.get("samples_NAME", "").replace("NAME", chosen.removeprefix("samples_"))
    return ""


def _protocol(protocol: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    details = {k: plain(v) for k, v in protocol.items() if k not in ("value", "better")}
    return str(protocol.get("value", "")), details


def plain(value: Any) -> str:
    """A value of a protocol as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {plain(v)}" for k, v in value.items())
    return ", ".join(map(plain, value)) if isinstance(value, list | tuple) else str(value)


def key_numbers(paired_tables: list[Table], distances: list[Table]) -> list[Line]:
    """The few lines that head the page: reconstructions on the given mask, and the nearest set of samples."""
    first = {line.name: line for line in paired_tables[0].lines} if paired_tables else {}
    lines = [replace(first[name], name=told) for name, told in KEYS.items() if name in first]
    for table in [table for table in distances if table.lines and table.lines[0].better == "lower"][:1]:
        drawn = [line for line in table.lines if line.name.startswith("samples_") and "generator" in line.values]
        known = [line for line in drawn if line.values["generator"] is not None]
        if known:
            nearest = min(known, key=lambda line: line.values["generator"] or 0.0)
            pca = [line.values.get("pca") for line in drawn if line.name == "samples_prior"]
            values = {"generator": nearest.values["generator"], "pca": pca[0] if pca else None}
            name = f"distance of {nearest.name.removeprefix('samples_')} samples ({table.title})"
            lines.append(replace(nearest, name=name, values=values))
    return lines


def verdict(table: Table, nouns: Nouns) -> str:
    """One sentence: in how many metrics the generator is better than eigenfaces."""
    judged = [line for line in table.lines if line.best]
    won = [line.name for line in judged if line.best == "generator"]
    if not judged:
        return ""
    which = f": {', '.join(won)}" if won and len(won) < len(judged) else ""
    score = f"in {len(won)} of {len(judged)} metrics{which}"
    beats = f"On {table.title}, the generator beats {nouns.eigenfaces} of equal code size {score}"
    if not any(line.margin for line in judged):
        return f"{beats}."
    unclear = [line.name for line in judged if not line.clear]
    return f"{beats}; " + (
        f"the interval of the difference holds 0 for {', '.join(unclear)}."
        if unclear
        else "no interval of a difference holds 0."
    )


def verification(numbers: Mapping[str, Any]) -> str:
    """What the threshold behind identity_same is worth on real faces; empty where that was not measured."""
    found = numbers.get("verification", {})
    shares = [
        f"{100 * found[name]:.1f} % of {found[pairs]} pairs of {who} {errs}"
        for name, pairs, who, errs in (
            ("refused", "pairs_of_one_person", "one person", "are taken for two"),
            ("accepted", "pairs_of_two_people", "two people", "are taken for one"),
        )
        if name in found
    ]
    return f"By the same threshold, of the held-out photos themselves {' and '.join(shares)}." if shares else ""


def ends(stated: Mapping[str, float]) -> tuple[float, float] | None:
    """The interval of a stated mean, if it has one."""
    return (stated["low"], stated["high"]) if "low" in stated else None


def between(interval: tuple[float, float] | None) -> str:
    """An interval; nothing where there is none."""
    return f"{number(interval[0])} to {number(interval[1])}".replace("-", MINUS) if interval else ""


def number(value: float | None) -> str:
    """Three significant places or so; a dash for nothing."""
    if value is None:
        return DASH
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def signed(value: float | None) -> str:
    """With its sign, a true minus."""
    if value is None:
        return DASH
    text = f"{value:+.2f}"
    return "0.00" if text[1:] == "0.00" else text.replace("-", MINUS)
