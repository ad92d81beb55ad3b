"""Runs: the losses and sample sheets of trainings while they go on, metrics side by side, the report."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import gradio as gr

from fgcli.console import flat
from fgcli.errors import FgError, told
from fgcli.reports.plots import curves, together
from fgcli.studio.models import AT_ONCE, HIDDEN, Project, paragraph, table
from fgcli.studio.watch import Watch, stamp
from fgcli.training.run_folder import RunFolder
from fgcli.training.session import read_history

EVERY_S = 2.0
"""Seconds between looks at the runs."""
SHEETS = 6
"""Of a run, the newest."""
SEEN: dict[str, Any] = {"columns": 1, "object_fit": "contain", "interactive": False, "buttons": []}


def build(project: Project) -> None:
    """Lays the tab."""
    watch = Watch(project.out, ("stats.jsonl", "metrics.json"))
    first = look(project.out, watch, None)
    curves_of, sheets_of = drawn(project.out, first.runs[:1]), pictures(project.out, first.runs[:1])
    measured_of = metrics(project.out, watch.files())
    seen = gr.State(first)
    choice = gr.Dropdown(first.runs, value=first.runs[:1], multiselect=True, label="Runs", interactive=True)
    with gr.Row():
        with gr.Column(scale=3):
            losses = gr.HTML(curves_of)
        with gr.Column(scale=2):
            sheets = gr.Gallery(sheets_of, label="Sample sheets, the newest first", **SEEN)
    numbers = gr.HTML(measured_of)
    page = gr.HTML()
    show = gr.Button("Show the report")

    def looked(chosen: list[str], before: Look) -> list[Any]:
        now = look(project.out, watch, chosen)
        if now == before:
            return [gr.skip()] * 5
        chosen = [name for name in chosen if name in now.runs] if before.runs else now.runs[:1]
        choices = gr.update(choices=now.runs, value=chosen) if now.runs != before.runs else gr.skip()
        measured = metrics(project.out, watch.files()) if now.numbers != before.numbers else gr.skip()
        return [now, choices, drawn(project.out, chosen), pictures(project.out, chosen), measured]

    watched: dict[str, Any] = AT_ONCE | {"inputs": [choice, seen], "outputs": [seen, choice, losses, sheets, numbers]}
    choice.change(project.said(looked), **watched)
    gr.Timer(EVERY_S).tick(project.said(looked), **watched)
    show.click(project.said(lambda: report(project.out / "report.html")), None, page, **HIDDEN)


@dataclass(frozen=True)
class Look:
    """What changes when there is something new to show: the runs, the one begun last first; stamps of files.

    chosen: of the runs that are shown. numbers: of every metrics.json.
    """

    runs: list[str]
    chosen: list[Any]
    numbers: list[Any]


def look(out: Path, watch: Watch, chosen: list[str] | None) -> Look:
    """What there is now; by default the first run is chosen."""
    files = watch.files()
    begun = [path.parent for path in files if path.name == "stats.jsonl"]
    runs = [str(path.relative_to(out)) for path in sorted(begun, key=lambda path: (-time_of(path / "run.json"), path))]
    shown = [run_at(out, name) for name in (runs[:1] if chosen is None else chosen)]
    parts = [part for run in shown for part in (run.stats, run.last, run.sheet(0).parent)]
    numbers = [path for path in files if path.name == "metrics.json"]
    return Look(runs, *([(path, stamp(path)) for path in paths] for paths in (parts, numbers)))


def time_of(path: Path) -> float:
    """When a file was written, in seconds; 0 where there is none."""
    return path.stat().st_mtime if path.exists() else 0.0


def run_at(out: Path, name: str) -> RunFolder:
    """A run's folder."""
    return RunFolder(out / name, name, 0)


def drawn(out: Path, chosen: list[str]) -> str:
    """Curves of runs as HTML: what validates in one drawing where there are several, then each term of each."""
    if not chosen:
        return paragraph(f"{out}: expected a run with its stats.jsonl, found none chosen; run fg train, or choose one")
    found, parts = {}, []
    for name in chosen:
        try:
            found[name] = read_history(run_at(out, name).stats)
        except (FgError, OSError) as error:
            parts.append(paragraph(told(error)))
    parts += [paragraph(f"{name}: no step was told yet") for name, h in found.items() if not len(h.get("step", ()))]
    found = {name: history for name, history in found.items() if len(history.get("step", ()))}
    scores = {name: (h["step"], h["validation"]) for name, h in found.items() if "validation" in h}
    if len(scores) > 1:
        parts.append(together({k: (x.tolist(), y.tolist()) for k, (x, y) in scores.items()}, "step", "validation"))
    for name, history in found.items():
        figures = [
            f"<figure><figcaption>{html.escape(c.name)}: {c.last:.4g}</figcaption>{c.svg}</figure>"
            for c in curves(history)
        ]
        last = run_at(out, name).last
        saved = f", checkpoint of {datetime.fromtimestamp(time_of(last)):%d %b %H:%M:%S}" if last.exists() else ""
        parts.append(f"<h3>{html.escape(name)}: step {history['step'][-1]:.0f}{saved}</h3>{''.join(figures)}")
    return "".join(f'<div class="curves">{part}</div>' for part in parts)


def pictures(out: Path, chosen: list[str]) -> list[tuple[str, str]]:
    """The newest sample sheets of runs."""
    found = []
    for name in chosen:
        sheets = sorted(run_at(out, name).sheet(0).parent.glob("*.png"), reverse=True)[:SHEETS]
        found += [(str(path), f"{name}, step {int(path.stem)}") for path in sheets if path.stem.isdigit()]
    return found


def metrics(out: Path, files: list[Path]) -> str:
    """Every metrics.json of some files, side by side, as HTML; of a damaged one what is wrong."""
    found, wrong = {}, []
    for path in (path for path in files if path.name == "metrics.json"):
        try:
            found[str(path.parent)] = dict(flat(json.loads(path.read_bytes())))
        except (ValueError, AttributeError, OSError):
            wrong.append(f"{path}: expected the numbers of fg evaluate, found another file; run it again")
    if not found and not wrong:
        wrong.append(f"{out / 'metrics.json'}: expected this file, found none; run fg evaluate")
    said = "".join(map(paragraph, wrong))
    if not found:
        return said
    names = dict.fromkeys(name for numbers in found.values() for name in numbers if is_of_model(name))
    rows = [[name, *(number(numbers.get(name)) for numbers in found.values())] for name in names]
    return f"{said}<h3>Metrics</h3>{table(['', *found], [row for row in rows if any(row[1:])])}"


def is_of_model(name: str) -> bool:
    """Whether a number is about the generator, with no interval."""
    parts = name.split(".")
    return "generator" in parts and parts[0] not in ("intervals", "differences")


def number(value: Any) -> str:
    """To four digits; nothing where there is none."""
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def report(path: Path) -> str:
    """The report inside the page.

    Raises:
        FgError: there is none.
    """
    if not path.exists():
        raise FgError(f"{path}: expected this file, found none; run fg report")
    inner = html.escape(path.read_text(encoding="utf-8"), quote=True)
    return f'<iframe title="Report" sandbox="allow-scripts" style="width:100%;height:80vh" srcdoc="{inner}"></iframe>'
