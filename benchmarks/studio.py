"""fg studio in Chromium: how soon a moved slider shows its picture, and pictures of the tabs for the docs.

python benchmarks/studio.py out                                  # milliseconds
python benchmarks/studio.py out --photo photo.jpg --pictures docs/studio
"""

import argparse
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

from fgcli.studio.models import Project
from fgcli.studio.page import TABS, launch

MOVES = 12
SEEN = "all => all.filter(i => i.offsetParent).map(i => i.src).join()"
NAMES = {"Sample and walk": "sample"}


def delays(page: Any, tab: str, slider: str) -> list[float]:
    """Milliseconds from a key press to another picture on the page, for each of some."""
    page.get_by_role("tab", name=tab, exact=True).click()
    handle, found = page.get_by_role("slider", name=slider).last, []
    handle.focus()
    for _ in range(MOVES):
        before, start = page.eval_on_selector_all("img", SEEN), time.perf_counter()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"before => ({SEEN})([...document.images]) != before", arg=before, polling=5)
        found.append(1000 * (time.perf_counter() - start))
        page.wait_for_timeout(1000)
    return found


def shoot(page: Any, tab: str, folder: Path) -> None:
    """A picture of a tab, of few colours: it is to be small."""
    from PIL import Image

    page.get_by_role("tab", name=tab, exact=True).click()
    page.wait_for_timeout(3000)
    path = folder / f"{NAMES.get(tab, tab.lower())}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path)
    Image.open(path).convert("RGB").quantize(200).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--photo", type=Path, help="for the tab Edit")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the tabs")
    parser.add_argument("--tabs", nargs="*", default=list(TABS), help="of which tabs")
    asked = parser.parse_args()
    from playwright.sync_api import sync_playwright

    blocks, address = launch(Project(asked.out))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(address)
        page.get_by_role("tab", name="Edit", exact=True).wait_for()
        page.wait_for_timeout(3000)
        for tab, slider in (("Edit", "smiling"), ("Steer", "yaw")):
            found = delays(page, tab, slider) if tab in asked.tabs else []
            if found:
                print(f"{tab}: median {statistics.median(found):.0f} ms, all {[round(ms) for ms in found]}")
        if asked.pictures:
            if asked.photo:
                page.get_by_role("tab", name="Edit", exact=True).click()
                page.locator("input[type=file]").first.set_input_files(asked.photo)
            if "Sample and walk" in asked.tabs:
                page.get_by_role("tab", name="Sample and walk", exact=True).click()
                faces = page.locator(".grid-container button:visible")
                for place in (1, 6):
                    faces.nth(place).click()
                    page.wait_for_timeout(3000)
                page.get_by_role("slider", name="From the first to the second").last.fill("0.5")
                page.get_by_role("button", name="Keep the face chosen last").click()
            for tab in asked.tabs:
                shoot(page, tab, asked.pictures)
        browser.close()
    blocks.close()


if __name__ == "__main__":
    main()
