"""The page: its tabs, its looks, and the server at 127.0.0.1; nothing is loaded from a network."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from fgcli.console import say
from fgcli.errors import FgError, UsageError
from fgcli.studio import data, edit, runs, sample, steer
from fgcli.studio.models import LARGEST_MB, Project, paragraph, plainly

TABS: dict[str, Callable[[Project], None]] = {
    "Edit": edit.build,
    "Steer": steer.build,
    "Sample and walk": sample.build,
    "Data": data.build,
    "Runs": runs.build,
}
HOST = "127.0.0.1"
THEME = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])  # the system's own
CSS = """
.numbers { border-collapse: collapse; width: 100%; font-size: 0.9em }
.numbers th, .numbers td { text-align: left; padding: 0.15em 0.5em }
.numbers tr { border-bottom: 1px solid var(--border-color-primary) }
.numbers tbody th { font-weight: normal }
.curves { --accent: var(--color-accent); display: flex; flex-wrap: wrap; gap: 1em }
.curves figure { margin: 0 }
"""


def page(project: Project) -> gr.Blocks:
    """All tabs; they are made when the page is loaded, of what is there then."""
    with gr.Blocks(title=f"fg studio: {project.out}", analytics_enabled=False, fill_width=True) as blocks:

        @gr.render(triggers=[blocks.load])  # one for all: gradio numbers the handlers of two at once alike
        def tabs() -> None:
            for name, build in TABS.items():
                with gr.Tab(name):
                    lay(build, project)

    return blocks


def lay(build: Callable[[Project], None], project: Project) -> None:
    """Makes a tab; where an artifact is missing or damaged it tells which, and the others work.

    A tab reads all that it shows before it lays the first part: half of one would have parts that do nothing.
    """
    try:
        build(project)
    except Exception as error:
        gr.HTML(paragraph(plainly(error)))


def launch(project: Project, port: int | None = None, browser: bool = False) -> tuple[gr.Blocks, str]:
    """Starts the server, and returns the page and its address.

    port: 7860 or the next free one by default.

    Raises:
        UsageError: the port is taken.
    """
    blocks = page(project)
    looks: dict[str, Any] = {"theme": THEME, "css": CSS, "footer_links": [], "run_history": False}
    alone: dict[str, Any] = {"share": False, "ssr_mode": False, "enable_monitoring": False, "mcp_server": False}
    files: dict[str, Any] = {"max_file_size": f"{LARGEST_MB}mb", "allowed_paths": [str(project.out.absolute())]}
    for name in ("NO_PROXY", "no_proxy"):  # gradio asks its own address whether it answers
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), HOST]))
    how: dict[str, Any] = {
        "server_name": HOST,
        "server_port": port,
        "inbrowser": browser,
        "quiet": True,
        "prevent_thread_lock": True,
    }
    try:
        _, address, _ = blocks.launch(**how, **alone, **files, **looks)
    except OSError as error:
        found = f"{port}, which is taken" if port else "none from 7860 on"
        raise UsageError(f"--port: expected a free port, found {found}; name another") from error
    return blocks, address


def serve(out: Path, port: int | None, browser: bool, debug: bool) -> None:
    """Serves the page until it is interrupted.

    Raises:
        FgError: no such folder.
    """
    if not out.is_dir():
        raise FgError(f"{out}: expected the folder of a project's artifacts, found none; run fg preprocess or name it")
    with tempfile.TemporaryDirectory(prefix="fg-studio-") as cache:
        os.environ["GRADIO_TEMP_DIR"] = cache
        blocks, address = launch(Project(out, debug), port, browser)
        say(f"fg studio: {address} shows {out}; Ctrl-C ends it")
        try:
            threading.Event().wait()
        finally:
            blocks.close(verbose=False)
