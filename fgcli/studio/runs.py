"""Runs: the losses and sample sheets of trainings while they go on, metrics side by side, the report."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import gradio as gr

from fgcli.console import flat
from fgcli.errors import FgError
from fgcli.reports.plots import curves, together
from fgcli.studio.models import HIDDEN, LIVE, Project, sentence, table
from fgcli.training.run_folder import RunFolder
from fgcli.training.session import read_history

EVERY_S = 2.0
"""Seconds between looks at the runs."""
SHEETS = 6
"""Of a run, the newest."""
SEEN: dict[str, Any] = {"columns": 1, "object_fit": "contain", "interactive": False, "buttons": []}


def build(project: Project) -> None:
    """Lays the tab."""
    runs, reports = folders(project.out), project.out / "report.html"
    seen = gr.State("")
    if runs:
        choice = gr.Dropdown(runs, value=runs[:1], multiselect=True, label="Runs", interactive=True)
        with gr.Row():
            with gr.Column(scale=3):
                losses = gr.HTML(drawn(project.out, runs[:1]))
            with gr.Column(scale=2):
                sheets = gr.Gallery(pictures(project.out, runs[:1]), label="Sample sheets, the newest first", **SEEN)
    else:
        sentence(
            f"{project.out}: expected a run with its stats.jsonl, found none; run fg train, then load this page again"
        )
    gr.HTML(metrics(project.out))
    page = gr.HTML()
    show = gr.Button("Show the report")

    def looked(chosen: list[str], before: str) -> list[Any]:
        now = stamp(project.out, chosen)
        if now == before:
            return [gr.skip()] * 3
        return [now, drawn(project.out, chosen), pictures(project.out, chosen)]

    if runs:
        watch: dict[str, Any] = LIVE | {"inputs": [choice, seen], "outputs": [seen, losses, sheets]}
        choice.change(project.said(looked), **watch)
        gr.Timer(EVERY_S).tick(project.said(looked), **watch)
    show.click(project.said(lambda: report(reports)), None, page, **HIDDEN)


def folders(out: Path) -> list[str]:
    """Folders of runs below `out`, the one that was written last first."""
    found = sorted(out.rglob("stats.jsonl"), key=lambda path: -path.stat().st_mtime)
    return [str(path.parent.relative_to(out)) for path in found]


def run_at(out: Path, name: str) -> RunFolder:
    """A run's folder."""
    return RunFolder(out / name, name, 0)


def stamp(out: Path, chosen: list[str]) -> str:
    """Changes when one of the runs goes on."""
    return " ".join(f"{name}:{path.stat().st_size}" for name in chosen if (path := run_at(out, name).stats).exists())


def drawn(out: Path, chosen: list[str]) -> str:
    """Curves of runs as HTML: what validates in one drawing where there are several, then each term of each."""
    found = {name: read_history(run_at(out, name).stats) for name in chosen if run_at(out, name).stats.exists()}
    found = {name: history for name, history in found.items() if len(history.get("step", ()))}
    if not found:
        return '<p role="status">No step was told yet.</p>'
    parts = []
    scores = {name: (h["step"], h["validation"]) for name, h in found.items() if "validation" in h}
    if len(scores) > 1:
        parts.append(together({k: (x.tolist(), y.tolist()) for k, (x, y) in scores.items()}, "step", "validation"))
    for name, history in found.items():
        figures = [
            f"<figure><figcaption>{html.escape(c.name)}: {c.last:.4g}</figcaption>{c.svg}</figure>"
            for c in curves(history)
        ]
        parts.append(f"<h3>{html.escape(name)}: step {history['step'][-1]:.0f}</h3>{''.join(figures)}")
    return "".join(f'<div class="curves">{part}</div>' for part in parts)


def pictures(out: Path, chosen: list[str]) -> list[tuple[str, str]]:
    """The newest sample sheets of runs."""
    found = []
    for name in chosen:
        sheets = sorted(run_at(out, name).sheet(0).parent.glob("*.png"), reverse=True)[:SHEETS]
        found += [(str(path), f"{name}, step {int(path.stem)}") for path in sheets if path.stem.isdigit()]
    return found


def metrics(out: Path) -> str:
    """Every metrics.json below `out`, side by side, as HTML.

    Raises:
        FgError: one of them is damaged.
    """
    found = {}
    for path in sorted(out.rglob("metrics.json")):
        try:
            found[str(path.parent)] = dict(flat(json.loads(path.read_bytes())))
        except (ValueError, AttributeError) as error:
            raise FgError(f"{path}: expected the numbers of fg evaluate, found another file; run it again") from error
    if not found:
        none = f"{out / 'metrics.json'}: expected this file, found none; run fg evaluate"
        return f'<p role="status">{html.escape(none)}</p>'
    names = dict.fromkeys(name for numbers in found.values() for name in numbers if is_of_model(name))
    rows = [[name, *(number(numbers.get(name)) for numbers in found.values())] for name in names]
    return f"<h3>Metrics</h3>{table(['', *found], [row for row in rows if any(row[1:])])}"


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
