"""fg studio in a real browser: every tab is used by keyboard and mouse, and tells what is wrong in one sentence."""

import csv
import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import zipfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from conftest import painted
from PIL import Image
from pipeline_files import ROOT
from typer.testing import CliRunner

from fgcli import artifacts, config
from fgcli.cli import app
from fgcli.datasets.orl import orl
from fgcli.errors import FgError, UsageError
from fgcli.generators import GENERATORS, store
from fgcli.stages import density, editor

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
for missing in [name for name in ("gradio", "playwright") if find_spec(name) is None]:
    pytest.skip(f'these tests need {missing}: pip install "fgcli[dev]"', allow_module_level=True)
if not CHROMIUM:
    pytest.skip("these tests need Chromium: apt install chromium", allow_module_level=True)

SIZE, ROWS = 16, 40
"""Of the pictures, px; of latents.h5."""
BUILD = {"name": "masked_vae", "codes": 6, "width": 0.1, "linear": True}


def fg(*words):
    """Runs a command; it is to succeed."""
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output


def write_generator(folder):
    """generator.h5, latents.h5, density.h5 and editor.h5 of eigenfaces that photos are cut for."""
    torch.manual_seed(0)
    model = config.build(GENERATORS, BUILD, "test", image_shape=(3, SIZE, SIZE))
    model.start(painted(40)[0])
    training = {"preprocess": config.defaults()["preprocess"] | {"size": SIZE}}
    about = {"ema": model.state_dict(), "build": BUILD, "history": {}, "params": {}, "inputs": {}}
    store.save(folder / "generator.h5", model, training=training, **about)
    odd = (np.arange(ROWS) % 2).astype(np.int8)[:, None]
    labels = np.concatenate([odd, 1 - odd], 1)
    arrays = {
        "codes": np.random.default_rng(0).standard_normal((ROWS, 1, 6)).astype(np.float32) + odd[:, :, None],
        "error": np.zeros(ROWS, np.float32),
        "attributes": labels,
        "split": np.zeros(ROWS, np.uint8),
    }
    meta = {"space": "z", "generator": artifacts.sha256(folder / "generator.h5"), "build": BUILD, "seed": 0}
    meta |= {"inverter": {"name": "encoder"}, "self_test": {}, "attribute_names": ["odd", "even"]}
    artifacts.save(folder / "latents.h5", artifacts.LATENTS, arrays, params={}, inputs={}, meta=meta)
    methods = {"one": {"name": "gaussian"}}
    density.run(folder / "latents.h5", folder / "density.h5", params=density.Params(methods=methods, seed=0))
    params = {"methods": {"mean": {"name": "mean_difference"}}, "attributes": ["odd", "even"], "layers": None}
    editor.run(folder / "latents.h5", None, None, folder / "editor.h5", params=editor.Params(seed=0, **params))


def write_photos():
    """Three photos and what is none, with a table of the user's, and their faces.h5."""
    Path("photos").mkdir()
    for name, i in (("a", 0), ("b", 10), ("c", 20)):
        Image.open(orl().photos[i].path).save(f"photos/{name}.png")
    Path("photos/bad.png").write_text("no photo")
    Path("labels.csv").write_text("file,identity,smiling,glasses\na.png,anna,1,0\nb.png,ben,0,1\nc.png,cyd,1,-1\n")
    preprocess("labels.csv", "out/faces.h5")


def preprocess(labels, output):
    data = f"[{{name: image_folder, path: photos, attributes: {labels}}}]"
    more = {"size": 32, "processes": 1, "val": 0, "test": 0, "max_rejected": 0.9, "datasets": data}
    sets = [word for key, value in more.items() for word in ("--set", f"preprocess.{key}={value}")]
    fg("preprocess", "-o", output, "--sheet", Path(output).with_suffix(".png"), *sets)


def write_run(folder):
    """A run that has told two lines, and what else the tab shows."""
    (folder / "train/samples").mkdir(parents=True)
    lines = [{"step": step, "l2": 1 / step, "validation": 2 / step} for step in (10, 20)]
    (folder / "train/stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Image.fromarray(painted(1, 64)[0][0]).save(folder / "train/samples/000020.png")
    numbers = {"reconstruction": {"generator": {"given_mask": {"l1": 0.125}}}}
    for name, l1 in (("", 0.125), ("other", 0.25)):
        (folder / name).mkdir(exist_ok=True)
        numbers["reconstruction"]["generator"]["given_mask"]["l1"] = l1
        (folder / name / "metrics.json").write_text(json.dumps(numbers))
    (folder / "report.html").write_text("<p>All of the report</p>")


@pytest.fixture(scope="module")
def home(tmp_path_factory, rendered, steered):
    """A project's folder: out, gif whose generator heads steer, and empty; the working folder meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("home"))
        Path("out").mkdir()
        Path("empty").mkdir()
        Path("gif").mkdir()
        for name, path in steered.items():
            shutil.copy(path, f"gif/{name}.h5")
        shutil.copy(rendered["flame"], "out/flame.h5")
        write_generator(Path("out"))
        write_photos()
        write_run(Path("out"))
        patch.setenv("GRADIO_TEMP_DIR", str(Path("cache").absolute()))
        yield Path.cwd()


@pytest.fixture(scope="module")
def pages(home):
    """Addresses of the three projects' pages, and a browser that takes note of what it asks whom."""
    from playwright.sync_api import sync_playwright

    from fgcli.studio.models import Project
    from fgcli.studio.page import launch

    served = {name: launch(Project(Path(name))) for name in ("out", "gif", "empty")}
    asked = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1400, "height": 1000})
        window.set_default_timeout(180_000)
        window.on("request", lambda request: asked.append(request.url))
        yield {name: address for name, (_, address) in served.items()}, window, asked
        browser.close()
    for blocks, _ in served.values():
        blocks.close()


@pytest.fixture
def tab(pages):
    """Opens a tab of a project by keyboard alone."""
    addresses, window, _ = pages

    def opened(title, project="out"):
        window.goto(addresses[project])
        button = window.get_by_role("tab", name=title, exact=True)
        button.focus()
        window.keyboard.press("Enter")
        window.wait_for_function("document.querySelectorAll('[role=tabpanel] .block').length > 3")
        return window

    return opened


def visible(window, selector):
    return window.locator(f"{selector}:visible")


def pictures(window):
    """Addresses of the pictures that can be seen, once there are two: every tab that is asked has as many."""
    window.wait_for_function("[...document.images].filter(i => i.offsetParent).length >= 2")
    return window.eval_on_selector_all("img", "all => all.filter(i => i.offsetParent).map(i => i.src)")


def changed(window, before):
    """Waits until pictures differ from those before."""
    seen = "all => JSON.stringify([...document.images].filter(i => i.offsetParent).map(i => i.src))"
    window.wait_for_function(f"before => ({seen})() != JSON.stringify(before)", arg=before)


def pixels(window, address):
    """Of a picture of the page."""
    import io

    return np.asarray(Image.open(io.BytesIO(window.request.get(address).body())).convert("RGB"))


def error(window):
    """The sentence that the page shows; it goes away."""
    toast = window.get_by_test_id("toast-body").last
    toast.wait_for()
    text = toast.inner_text().split("\n")[-1]
    toast.get_by_test_id("toast-close").click()
    toast.wait_for(state="detached")
    return text


def offer(window, path):
    """Gives a file to the photo field of the tab, in place of the one before."""
    for field in reversed(visible(window, "[aria-label='Clear'], [title='Clear']").all()):
        field.click()
    window.locator("[role=tabpanel]:visible input[type=file]").first.set_input_files(path)


def offered(window, name):
    """Waits until a file can be downloaded."""
    window.locator(f"a[href*='{name}']:visible").first.wait_for()


def command(window):
    """The words of the command that the tab tells."""
    return shlex.split(visible(window, "textarea").first.input_value())


# ---- edit


def test_sliders_move_by_keyboard_and_the_command_makes_the_same_pixels(tab, home):
    window = tab("Edit")
    visible(window, "input[type=range]").nth(1).wait_for()
    one, other = visible(window, "input[type=range]").all()
    before = pictures(window)
    for slider, key, times in ((one, "ArrowRight", 12), (other, "ArrowLeft", 5)):
        slider.focus()
        for _ in range(times):
            window.keyboard.press(key)
    window.wait_for_function("document.querySelector('textarea').value.includes('odd=-0.5')")
    assert pictures(window) != before
    words = command(window)
    assert words[:7] == ["fg", "edit", "0", "-a", "even=1.2", "-a", "odd=-0.5"]
    assert "no judges.h5: run fg judges" in window.locator("[role=tabpanel]:visible").inner_text()
    window.get_by_role("button", name="Write the pictures").press("Enter")
    offered(window, "edited.sh")
    assert Path("out/studio/edited.sh").read_text() == f"# fg studio\n{shlex.join(words)}\n"
    written = Path("out/studio/edited.png").read_bytes()
    fg(*words[1:-1], "again.png")
    assert Path("again.png").read_bytes() == written
    strip, after = np.asarray(Image.open("again.png")), pixels(window, pictures(window)[1])
    scale = 128 // SIZE
    tile = strip[18 : 18 + 128 : scale, -128::scale]
    np.testing.assert_array_equal(after[:: 2 * scale, :: 2 * scale], tile)


def test_a_photo_is_changed_whole_and_kept_for_the_command(tab, home):
    window = tab("Edit")
    before = pictures(window)
    offer(window, "photos/b.png")
    changed(window, before)
    visible(window, "input[type=range]").first.press("ArrowRight")
    window.wait_for_function("document.querySelector('textarea').value.includes('b.png --face largest -a even=0.1')")
    window.get_by_role("button", name="Write the pictures").press("Enter")
    offered(window, "edited-b-edit.png")
    words = command(window)
    assert Path(words[2]).read_bytes() == Path("photos/b.png").read_bytes()
    fg(*words[1:-1], "photo.png")
    assert Path("photo-b-edit.png").read_bytes() == Path("out/studio/edited-b-edit.png").read_bytes()
    shown = pixels(window, pictures(window)[3])
    np.testing.assert_array_equal(shown, np.asarray(Image.open("photo-b-edit.png").convert("RGB")))


@pytest.mark.parametrize(("title", "project"), [("Edit", "out"), ("Steer", "gif")])
def test_what_is_no_photo_of_a_face_is_told_in_one_sentence(tab, home, title, project):
    window = tab(title, project)
    Path("notes.jpg").write_text("not a photo")
    Image.new("RGB", (200, 200), "grey").save("grey.png")
    with open("huge.jpg", "wb") as file:
        file.truncate(100_000_000)
    before = pictures(window)
    for name, sentence in (
        ("huge.jpg", r'File.s. exceed the maximum allowed size of 50.0 Mb: "huge.jpg"'),
        ("notes.jpg", rf"{project}/studio/photos/\w+/notes.jpg: not an image, whatever its name says"),
        ("grey.png", rf"{project}/studio/photos/\w+/grey.png: no face found.*"),
    ):
        offer(window, name)
        assert re.fullmatch(sentence, error(window)), name
    row = visible(window, "input[type=number]").first
    row.fill("99")
    assert re.fullmatch(
        rf"{project}/(latents|conditions).h5: expected a row below \d+, found 99; choose another row", error(window)
    )
    assert pictures(window) == before


def test_a_face_that_no_slider_moved_is_not_written(tab, home):
    window = tab("Edit")
    window.get_by_role("button", name="Write the pictures").press("Enter")
    assert error(window) == "Edit: expected a changed face, found all sliders at 0; move one"


def test_nothing_of_the_users_is_written_over(tab, home):
    window = tab("Edit")
    visible(window, "input[type=range]").first.press("ArrowRight")
    window.wait_for_function("document.querySelector('textarea').value.includes('even=0.1')")
    Path("out/studio").mkdir(exist_ok=True)
    Path("out/studio/edited.sh").write_text("mine")
    window.get_by_role("button", name="Write the pictures").press("Enter")
    assert "out/studio/edited.sh: expected nothing or a .sh file of fg's to replace, found another file" in error(
        window
    )
    assert Path("out/studio/edited.sh").read_text() == "mine"
    Path("out/studio/edited.sh").unlink()


def test_another_inverter_finds_the_code_and_the_command_names_it(tab, home):
    window = tab("Edit")
    by = window.get_by_role("group").filter(has_text="What finds its code")
    by.get_by_role("radio").first.wait_for()
    assert by.get_by_role("radio").count() == 3
    assert by.get_by_role("radio", name="encoder").is_checked()
    before = pictures(window)
    offer(window, "photos/b.png")
    changed(window, before)
    visible(window, "input[type=range]").first.press("ArrowRight")
    window.wait_for_function("document.querySelector('textarea').value.includes('b.png --face largest -a even=0.1')")
    before = pictures(window)
    by.get_by_role("radio", name="hybrid").press("Space")
    window.wait_for_function("document.querySelector('textarea').value.includes('--inverter hybrid')")
    assert pictures(window)[1] != before[1]
    words = command(window)
    assert words[5:7] == ["--inverter", "hybrid"]
    window.get_by_role("button", name="Write the pictures").press("Enter")
    offered(window, "edited-b-edit.png")
    fg(*words[1:-1], "hybrid.png")
    assert Path("hybrid.png").read_bytes() == Path("out/studio/edited.png").read_bytes()
    visible(window, "input[type=number]").first.fill("3")
    window.wait_for_function("document.querySelector('textarea').value.startsWith('fg edit 3 -a')")


# ---- steer


@pytest.mark.parametrize("project", ["out", "gif"])
def test_heads_are_steered_by_keyboard(tab, home, project):
    window = tab("Steer", project)
    yaw = window.get_by_role("slider", name="yaw").last
    before = pictures(window)
    yaw.focus()
    for _ in range(6):
        window.keyboard.press("ArrowRight")
    changed(window, before)
    assert len(pictures(window)) == 2
    assert not set(pictures(window)) & set(before)


# ---- sample and walk


def test_two_faces_are_walked_between_kept_and_exported(tab, home):
    window = tab("Sample and walk")
    faces = visible(window, ".grid-container button")
    window.wait_for_function("document.querySelectorAll('.grid-container button').length >= 16")
    before = pictures(window)
    faces.nth(1).click()
    faces.nth(3).press("Enter")
    changed(window, before)
    before = pictures(window)
    window.get_by_role("slider", name="From the first to the second").last.press("ArrowRight")
    changed(window, before)
    window.get_by_role("button", name="Keep the face chosen last").press("Enter")
    window.get_by_text("one, seed 3").wait_for()
    (kept,) = json.loads(Path("out/studio/favourites.json").read_text())
    assert (kept["density"], kept["seed"]) == ("one", 3)
    window.get_by_role("button", name="Export the sheet").press("Enter")
    offered(window, "samples.h5")
    words = command(window)
    fg(*words[1:-1], "drawn.png")
    assert Path("drawn.png").read_bytes() == Path("out/studio/samples.png").read_bytes()
    assert Path("drawn.h5").read_bytes() == Path("out/studio/samples.h5").read_bytes()
    window.get_by_role("button", name="Export the favourites").press("Enter")
    offered(window, "favourites.png")


def test_only_the_prior_is_truncated(tab, home):
    window = tab("Sample and walk")
    window.get_by_role("slider", name="Truncation, of the prior").last.press("ArrowLeft")
    window.get_by_role("button", name="Draw").press("Enter")
    assert error(window) == "--truncation: expected 1 for a density, found 0.95; add --density prior"


def test_an_emptied_number_is_told(tab, home):
    window = tab("Sample and walk")
    window.get_by_role("spinbutton", name="Seed of the first").fill("")
    window.get_by_role("button", name="Draw").press("Enter")
    assert error(window) == "Sample and walk: expected the seed of the first face, found none; give a whole number"
    window = tab("Data")
    window.get_by_role("spinbutton", name="Page").fill("")
    visible(window, ".grid-container button").first.press("Enter")
    assert error(window) == "Data: expected the number of the page, found none; give one"


# ---- data


def test_a_label_is_mended_by_a_click_and_preprocess_reads_it(tab, home):
    window = tab("Data")
    window.get_by_text("1 x not an image, whatever its name says").wait_for()
    before = pictures(window)
    window.get_by_role("checkbox", name="Masks and landmarks").press("Space")
    changed(window, before)
    visible(window, ".grid-container button").nth(1).press("Enter")
    window.get_by_text("image_folder/b.png, row 1: train, person image_folder/ben").wait_for()
    smiling = window.get_by_role("group").filter(has_text="smiling")
    assert smiling.get_by_role("radio", name="no", exact=True).is_checked()
    smiling.get_by_role("radio", name="yes", exact=True).click()
    window.get_by_text("smiling of image_folder/b.png is written to out/studio/image_folder-labels.csv").wait_for()
    preprocess("out/studio/image_folder-labels.csv", "mended.h5")
    before, after = (
        artifacts.load(Path(name), artifacts.FACES, ("attributes",)) for name in ("out/faces.h5", "mended.h5")
    )
    assert after.meta["attribute_names"] == before.meta["attribute_names"]
    assert np.argwhere(after["attributes"] != before["attributes"]).tolist() == [[1, 0]]
    assert after["attributes"][1, 0] == 1
    assert "ben,0,1" in Path("labels.csv").read_text()


# ---- runs


def test_a_run_is_watched_while_it_goes_on_and_the_report_is_shown(tab, home):
    window = tab("Runs")
    window.get_by_text("train: step 20").wait_for()
    assert window.get_by_role("img", name="validation over the steps of training").count() == 1
    table = window.get_by_role("row", name=re.compile("given_mask.l1")).inner_text()
    assert ("0.125" in table, "0.25" in table) == (True, True)
    with open("out/train/stats.jsonl", "a") as file:
        file.write(json.dumps({"step": 30, "l2": 0.01, "validation": 0.02}) + "\n")
    window.get_by_text("train: step 30").wait_for()
    window.get_by_role("button", name="Show the report").press("Enter")
    window.frame_locator("iframe[title=Report]").get_by_text("All of the report").wait_for()


def test_a_run_and_numbers_that_come_while_the_page_is_open_are_shown(pages, home):
    addresses, window, _ = pages
    window.goto(addresses["empty"])
    window.get_by_role("tab", name="Runs").press("Enter")
    window.get_by_text("empty: expected a run with its stats.jsonl, found none").wait_for()
    try:
        write_run(Path("empty"))
        window.get_by_text("train: step 20").wait_for()
        window.get_by_role("row", name=re.compile("given_mask.l1")).wait_for()
        shutil.copy("out/generator.h5", "empty/train/last.h5")
        window.get_by_text("train: step 20, checkpoint of").wait_for()
        Path("empty/train/stats.jsonl").write_text("no line\nof a run\n")
        window.get_by_text("empty/train/stats.jsonl: expected").wait_for()
    finally:
        for name in ("train", "other", "metrics.json", "report.html"):
            shutil.rmtree(path) if (path := Path("empty") / name).is_dir() else path.unlink()


def test_a_folder_that_has_not_changed_is_not_listed_again(tmp_path, monkeypatch):
    from fgcli.studio import watch

    for name in ("train", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stats.jsonl").touch()
        os.utime(tmp_path / name, (0, 1))
    os.utime(tmp_path, (0, 1))
    looked = watch.Watch(tmp_path, ["stats.jsonl"])
    assert [path.parent.name for path in looked.files()] == ["other", "train"]
    (tmp_path / "train/stats.jsonl").unlink()
    monkeypatch.setattr(watch.os, "scandir", listed := Mock(side_effect=os.scandir))
    assert [path.parent.name for path in looked.files()] == ["other"]
    assert [call.args for call in listed.call_args_list] == [(tmp_path / "train",)]


# ---- all


def test_each_tab_tells_what_is_missing_and_what_makes_it(pages):
    addresses, window, _ = pages
    window.goto(addresses["empty"])
    for title, name, by in (
        ("Edit", "generator.h5", "fg train"),
        ("Steer", "flame.h5", "fg flame"),
        ("Sample and walk", "generator.h5", "fg train"),
        ("Data", "faces.h5", "fg preprocess"),
    ):
        window.get_by_role("tab", name=title, exact=True).press("Enter")
        sentence = f"empty/{name}: expected this file, found none; run {by}, then load this page again"
        window.locator(f"text='{sentence}' >> visible=true").wait_for()
    window.get_by_role("tab", name="Runs").press("Enter")
    window.get_by_text("empty/metrics.json: expected this file, found none; run fg evaluate").wait_for()
    window.get_by_role("button", name="Show the report").press("Enter")
    assert error(window) == "empty/report.html: expected this file, found none; run fg report"


def test_the_page_asks_nobody_but_this_machine(pages):
    _, _, asked = pages
    assert asked
    assert {re.match(r"(\w+:(?://[^/:]+)?)", url)[1] for url in asked} <= {
        "http://127.0.0.1",
        "data:",
        "blob:",
        "about:",
    }


def test_a_damaged_artifact_spoils_no_other_tab(pages, home):
    addresses, window, _ = pages
    Path("empty/faces.h5").write_text("not an artifact")
    window.goto(addresses["empty"])
    window.get_by_role("tab", name="Data").press("Enter")
    sentence = "empty/faces.h5: expected a whole HDF5 file, found another kind of file; run fg preprocess"
    window.get_by_text(sentence).wait_for()
    Path("empty/faces.h5").unlink()


@pytest.mark.parametrize(
    ("damaged", "title", "made_by"),
    [("density", "Edit", "density"), ("latents", "Steer", "invert"), ("studio/favourites.json", "Sample and walk", "")],
)
def test_a_tab_whose_last_part_is_damaged_is_not_laid_by_half(home, tmp_path, damaged, title, made_by):
    from fgcli.studio.models import Project
    from fgcli.studio.page import TABS, gr, lay

    for name in ("generator", "latents", "editor", "density", "flame"):
        shutil.copy(f"out/{name}.h5", tmp_path)
    wrong = tmp_path / damaged if "." in damaged else tmp_path / f"{damaged}.h5"
    wrong.parent.mkdir(exist_ok=True)
    wrong.write_text("not an artifact")
    with gr.Blocks() as blocks:
        lay(TABS[title], Project(tmp_path))
    (only,) = blocks.children
    assert f"{wrong}: expected" in only.value
    assert f"run fg {made_by}" in only.value or not made_by


def test_a_page_whose_files_were_made_anew_asks_to_be_loaded_again(tab, home):
    window = tab("Sample and walk", "gif")
    os.utime("gif/generator.h5")
    window.get_by_role("button", name="Draw").press("Enter")
    said = "gif/generator.h5: expected the file that this page shows, found another; load the page again"
    assert error(window) == said
    window = tab("Edit")
    os.utime("out/editor.h5")
    visible(window, "input[type=range]").first.press("ArrowRight")
    assert error(window) == said.replace("gif/generator", "out/editor")


@pytest.mark.parametrize("title", ["Edit", "Steer", "Sample and walk", "Data", "Runs"])
def test_a_picture_of_each_tab_is_made_as_those_of_the_docs(tab, home, tmp_path, monkeypatch, title):
    where = importlib.util.spec_from_file_location("studio", ROOT / "benchmarks/studio.py")
    bench = importlib.util.module_from_spec(where)
    where.loader.exec_module(bench)
    monkeypatch.setattr(bench, "PAUSE_MS", 300)
    window = tab(title, "gif" if title == "Steer" else "out")
    bench.prepare(window, title, Path("photos/b.png"))
    bench.shoot(window, title, tmp_path)
    (made,) = tmp_path.iterdir()
    assert (ROOT / "docs/studio" / made.name).exists()
    assert len(np.unique(np.asarray(Image.open(made)))) > 20
    assert window.get_by_test_id("toast-body").count() == 0


# ---- without a browser


def test_a_changed_table_of_labels_stays_and_package_labels_have_none(home, tmp_path):
    from fgcli.studio import labels

    names = ("source", "rejected/source")
    faces = artifacts.load(Path("out/faces.h5"), artifacts.FACES, names)
    written = labels.fix(tmp_path, faces, "image_folder/a.png", "glasses", 1)
    labels.fix(tmp_path, faces, "image_folder/c.png", "smiling", -1)
    with open(written, newline="") as file:
        assert [(row["file"], row["smiling"], row["glasses"]) for row in csv.DictReader(file)] == [
            ("a.png", "1", "1"), ("b.png", "0", "1"), ("c.png", "-1", "-1")
        ]  # fmt: skip
    written.write_text("file,smiling\na.png,0\n")
    with pytest.raises(FgError, match="expected the table that fg studio wrote, found one that was changed since"):
        labels.fix(tmp_path, faces, "image_folder/a.png", "glasses", 0)
    assert written.read_text() == "file,smiling\na.png,0\n"
    with pytest.raises(FgError, match="expected labels from a table of an image_folder, found those that orl brings"):
        labels.fix(tmp_path, faces, "orl/1", "smiling", 1)


def test_a_label_that_the_table_has_no_column_for_gets_one(home, tmp_path):
    from fgcli.studio import labels

    faces = artifacts.load(Path("out/faces.h5"), artifacts.FACES, ("source", "rejected/source"))
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        file.write("labels.csv")
    data = faces.params["datasets"][0]
    zipped = replace(faces, params={"datasets": [data | {"attributes": str(tmp_path / "photos.zip/labels.csv")}]})
    for i, known in enumerate((faces, zipped)):
        written = labels.fix(tmp_path / str(i), known, "image_folder/b.png", "beard", 1)
        lines = written.read_text().splitlines()
        assert lines == ["file,identity,smiling,glasses,beard", "a.png,anna,1,0,", "b.png,ben,0,1,1", "c.png,cyd,1,-1,"]


def test_favourites_of_a_density_that_is_gone_are_kept_and_not_shown(home, tmp_path):
    from fgcli.studio import sample
    from fgcli.studio.models import Project

    for name in ("generator", "latents", "density"):
        shutil.copy(f"out/{name}.h5", tmp_path)
    project = Project(tmp_path)
    for name in ("one", "prior"):
        sample.keep_face(project, sample.drew(project, name, 1.0, 5, 2)[0], [1])
    assert [name for _, name in sample.favourite_pictures(project)] == ["one, seed 6", "prior, seed 6"]
    methods = {"other": {"name": "isotropic"}}
    density.run(tmp_path / "latents.h5", tmp_path / "density.h5", params=density.Params(methods=methods, seed=0))
    assert [name for _, name in sample.favourite_pictures(project)] == ["prior, seed 6"]
    assert len(sample.all_favourites(project)) == 2


def test_heads_are_steered_from_the_first_that_was_found(home, tmp_path):
    from fgcli.studio import steer
    from fgcli.studio.models import Project

    stored = artifacts.load(Path("out/flame.h5"), artifacts.FLAME)
    status = np.array(stored["status"]).astype("U40")
    status[:2] = "no landmarks"
    about = {"params": stored.params, "inputs": {}, "meta": stored.meta}
    artifacts.save(tmp_path / "flame.h5", artifacts.FLAME, {**stored.arrays, "status": status}, **about)
    assert steer.first_row(Project(tmp_path), "flame") == 2
    artifacts.save(
        tmp_path / "flame.h5", artifacts.FLAME, {**stored.arrays, "status": status[[0] * len(status)]}, **about
    )
    with pytest.raises(FgError, match=r"flame.h5: expected a row whose head was found, found none; run fg flame again"):
        steer.first_row(Project(tmp_path), "flame")


def test_a_folder_that_is_not_there_and_a_taken_port_are_one_sentence(home):
    from fgcli.studio.models import Project
    from fgcli.studio.page import launch

    done = CliRunner().invoke(app, ["studio", "nowhere"])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "nowhere: expected the folder of a project's artifacts, found none" in done.stderr
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match=r"--port: expected a free port, found \d+, which is taken; name another"):
            launch(Project(Path("empty")), taken.getsockname()[1])
