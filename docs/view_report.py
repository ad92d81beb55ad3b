"""Looks at a report as readers do: opens it in headless Chromium on a laptop and on a phone, light and dark.

Usage: python docs/view_report.py REPORT.html OUTDIR
Saves full-page screenshots to OUTDIR. Exits 1 with a sentence when the page writes an error to the console, asks for
anything beside itself, or scrolls sideways. Needs `chromium` (Debian: apt install chromium) and nothing else.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WIDTHS = {"laptop": (1280, 800, 1), "phone": (390, 844, 2)}
"""Width and height in CSS px, and device pixels per CSS pixel."""
PART = 4000
"""Height of one screenshot at most, CSS px: browsers refuse much taller ones."""
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]
WIDER = """[...document.body.querySelectorAll("*")].filter(e => !e.closest(".scroll") &&
  e.getBoundingClientRect().right > WIDTH + 1).slice(0, 3).map(e => e.tagName + "." + e.className).join(", ")"""


class Browser:
    """Chromium over its debugging pipe: messages are JSON, ended by a zero byte."""

    def __init__(self, send: int, receive: int) -> None:
        self._send, self._receive = send, receive
        self._pending, self._count, self.events = b"", 0, []
        self._session: str | None = None

    def attach(self) -> None:
        """Opens a tab and talks to it from now on."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Sends a command and returns its result; events that come meanwhile are kept."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._send, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == self._count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def wait(self, event: str) -> None:
        """Reads until `event` has come."""
        while not any(e["method"] == event for e in self.events):
            self._next()

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            part = os.read(self._receive, 1 << 20)
            if not part:
                raise RuntimeError("chromium ended")
            self._pending += part
        raw, _, self._pending = self._pending.partition(b"\0")
        answer = json.loads(raw)
        if "id" not in answer:
            self.events.append(answer)
        return answer


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A fresh Chromium with its debugging pipe on file descriptors 3 and 4."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        sys.exit("chromium: expected it on the path, found none; apt install chromium")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()
        command = 'exec 3<&"$1" 4>&"$2"; shift 2; exec "$@"'
        arguments = [program, *FLAGS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            ["bash", "-c", command, "bash", str(to_read), str(from_write), *arguments],
            pass_fds=(to_read, from_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(from_write)
        try:
            browser = Browser(to_write, from_read)
            browser.attach()
            yield browser
        finally:
            process.terminate()
            process.wait()
            os.close(to_write)
            os.close(from_read)


def look(browser: Browser, url: str, name: str, scheme: str, folder: Path) -> list[str]:
    """Screenshots of one width and colour scheme; returns what is wrong."""
    width, height, scale = WIDTHS[name]
    browser.events.clear()
    metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": name == "phone"}
    browser.call("Emulation.setDeviceMetricsOverride", **metrics)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.call("Page.navigate", url=url)
    browser.wait("Page.loadEventFired")
    faults = [f"{name}, {scheme}: {fault}" for fault in complaints(browser.events, url)]
    inside, content = browser.evaluate("innerWidth"), browser.evaluate("document.documentElement.scrollWidth")
    if content > inside or inside != width:
        culprits = browser.evaluate(WIDER.replace("WIDTH", str(width)))
        faults.append(f"{name}, {scheme}: {content} px wide in a window of {width} px, because of {culprits}")
    for old in folder.glob(f"{name}-{scheme}-*.png"):
        old.unlink()
    total = browser.evaluate("document.documentElement.scrollHeight")
    for number, top in enumerate(range(0, total, PART)):
        clip = {"x": 0, "y": top, "width": width, "height": min(PART, total - top), "scale": 1}
        shot = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        (folder / f"{name}-{scheme}-{number}.png").write_bytes(base64.b64decode(shot["data"]))
    return faults


def complaints(events: list[dict[str, Any]], url: str) -> list[str]:
    """Console errors, exceptions, and requests for anything that is not in the file."""
    found = []
    for event in events:
        params = event["params"]
        if event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
            found.append(f"console error: {params['entry']['text']}")
        elif event["method"] == "Runtime.exceptionThrown":
            found.append(f"exception: {params['exceptionDetails']['text']}")
        elif event["method"] == "Runtime.consoleAPICalled" and params["type"] == "error":
            found.append("console error")
        elif event["method"] == "Network.requestWillBeSent":
            asked = params["request"]["url"]
            if asked.split("#")[0] != url and not asked.startswith("data:"):
                found.append(f"it asks for {asked}")
    return found


def main(report: Path, folder: Path) -> None:
    """All widths and schemes; exits 1 on a fault."""
    if not report.is_file():
        sys.exit(f"{report}: expected a report, found no such file; run fg report")
    folder.mkdir(parents=True, exist_ok=True)
    url = report.resolve().as_uri()
    with chromium() as browser:
        faults = [
            f for name in WIDTHS for scheme in ("light", "dark") for f in look(browser, url, name, scheme, folder)
        ]
    if faults:
        sys.exit(f"{report}: {'; '.join(faults)}")
    print(f"{report}: no console errors, no sideways scrolling; screenshots in {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
