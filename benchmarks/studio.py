"""fg studio in Chromium: how soon a moved slider shows its picture, and pictures of the tabs for the docs.

python benchmarks/studio.py out                                  # milliseconds
python benchmarks/studio.py out --steered gif/out --photo photo.jpg --pictures docs/studio
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from fgcli.studio.models import Project
from fgcli.studio.page import TABS, launch

MOVES, PAUSE_MS = 24, 3000
"""Times that a slider is moved; how long a tab has for what comes after a click."""
SEEN = "all => all.filter(i => i.offsetParent).map(i => i.src).join()"
TEXTS = "[...document.querySelectorAll('textarea')]"
NAMES = {"Sample and walk": "sample"}
SLIDERS = {"Edit": "smiling", "Steer": "yaw"}
"""Of the tabs whose slider is moved."""


def delays(page: Any, tab: str, slider: str) -> list[float]:
    """Milliseconds from a key press to another picture on the page, for each of some."""
    page.get_by_role("tab", name=tab, exact=True).click()
    handle, found = page.get_by_role("slider", name=slider).last, []
    handle.focus()
    page.wait_for_timeout(PAUSE_MS)
    for _ in range(MOVES):
        before, start = page.eval_on_selector_all("img", SEEN), time.perf_counter()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"before => ({SEEN})([...document.images]) != before", arg=before, polling=5)
        found.append(1000 * (time.perf_counter() - start))
        page.wait_for_timeout(1000)
    return found


def prepare(page: Any, tab: str, photo: Path | None) -> None:
    """Uses a tab, so that there is something to see."""
    page.get_by_role("tab", name=tab, exact=True).click()
    if tab == "Edit" and photo:
        before = page.eval_on_selector_all("img", SEEN)
        page.locator("input[type=file]").first.set_input_files(photo)
        page.wait_for_function(f"before => ({SEEN})([...document.images]) != before", arg=before)
        page.wait_for_timeout(PAUSE_MS)
        page.locator("input[type=range]:visible").last.fill("1.5")
        page.wait_for_function(f"name => ({TEXTS}).some(t => t.value.includes(name))", arg=photo.name)
    if tab == "Steer":
        page.get_by_role("slider", name="yaw").last.press("ArrowRight")
    if tab == "Sample and walk":
        faces = page.locator(".grid-container button:visible")
        for place in (1, 6):
            faces.nth(place).click()
            page.wait_for_timeout(PAUSE_MS)
        page.get_by_role("slider", name="From the first to the second").last.fill("0.5")
        page.get_by_role("button", name="Keep the face chosen last").click()
    page.wait_for_timeout(PAUSE_MS)


def shoot(page: Any, tab: str, folder: Path) -> None:
    """A picture of a tab, of few colours: it is to be small."""
    from PIL import Image

    path = folder / f"{NAMES.get(tab, tab.lower())}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(200).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def tell(tab: str, found: list[float]) -> None:
    """The middle, the slow ones, and all."""
    slow = statistics.quantiles(found, n=20)[-1]
    listed = [round(ms) for ms in found]
    print(f"{tab}: median {statistics.median(found):.0f} ms, 95th percentile {slow:.0f} ms, all {listed}", flush=True)


def visit(out: Path, tabs: list[str], photo: Path | None, pictures: Path | None) -> None:
    """Opens the page of a project in Chromium, measures the sliders of its tabs, and takes pictures of them."""
    from playwright.sync_api import sync_playwright

    blocks, address = launch(Project(out))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(address)
        page.get_by_role("tab", name="Edit", exact=True).wait_for()
        for tab in tabs:
            if pictures:
                prepare(page, tab, photo)
                shoot(page, tab, pictures)
            elif tab in SLIDERS:
                tell(tab, delays(page, tab, SLIDERS[tab]))
        browser.close()
    blocks.close(verbose=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steered", type=Path, help="folder of a generator that heads steer, for the tab Steer")
    parser.add_argument("--photo", type=Path, help="for the tab Edit")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the tabs, in place of milliseconds")
    parser.add_argument("--tabs", nargs="*", default=list(TABS), help="of which tabs")
    asked = parser.parse_args()
    steered = ["Steer"] if asked.steered and "Steer" in asked.tabs else []
    for out, tabs in ((asked.out, [tab for tab in asked.tabs if tab not in steered]), (asked.steered, steered)):
        if tabs:
            visit(out, tabs, asked.photo, asked.pictures)


if __name__ == "__main__":
    main()
