"""What every command does around its work: print results, turn errors into one sentence and an exit code."""

from __future__ import annotations

import json
import os
import signal
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import typer

from fgcli.console import flat, say
from fgcli.errors import Interrupted, Stopped, UsageError, told


def guarded(work: Callable[[], Any], debug: bool) -> Any:
    """Calls `work`; exit 1 for failures, 2 for wrong usage, 130 or 143 when stopped; a traceback only with `debug`."""
    try:
        return work()
    except (KeyboardInterrupt, Interrupted) as error:
        number = error.signal if isinstance(error, Interrupted) else signal.SIGINT
        say("fg: interrupted" if number == signal.SIGINT else "fg: terminated")
        raise typer.Exit(128 + number) from None
    except Exception as error:
        if debug:
            raise
        say(f"fg: {told(error)}")
        raise typer.Exit(code(error)) from None


def code(error: Exception) -> int:
    """The exit code of a failure."""
    if isinstance(error, Stopped):
        return 128 + error.signal
    return 2 if isinstance(error, UsageError) else 1


def show(results: Mapping[str, Any], as_json: bool) -> None:
    """Results on stdout."""
    if as_json:
        text = [json.dumps(results, default=str)]
    else:
        pairs = [(key, item) for key, value in flat(results) for item in lines(value)]
        text = [f"{key}: {item:.6g}" if isinstance(item, float) else f"{key}: {item}" for key, item in pairs]
    print("".join(f"{line}\n" for line in text), end="", flush=True)


def lines(value: Any) -> list[Any]:
    """A list of sentences as one item each; a list of words as one line."""
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        return [value]
    return value if max(map(len, value)) > 40 else [", ".join(value)]


def quiet_libraries() -> None:
    """Settings that must stand before libraries load: no telemetry, no words of torch about its own plans."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
