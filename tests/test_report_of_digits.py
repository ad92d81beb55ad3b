"""The report of digits speaks of digits, that of faces of faces: read as a reader does, every stage run for it."""

import html
import re
from pathlib import Path
from typing import get_args

import pytest
from conftest import train_params
from test_preprocess import params as preprocess_params
from test_report import params

from fgcli import artifacts, config
from fgcli.artifacts import Content
from fgcli.reports.nouns import NOUNS
from fgcli.stages import density, editor, evaluate, invert, preprocess, report, train

METRICS = [{"name": name} for name in ("l1", "l2", "ssim", "identity", "sharpness")]
METRICS += [{"name": "frechet", "features": features} for features in ("pixels", "dlib_embedding")]
NAMES_OF_FILES = (
    "<pre>.*?</pre>",
    "<summary>faces</summary>",
    "<th>faces</th>",
    "faces/2",
    "faces <code>",
)
"""Params as JSON, and the artifact faces, whatever its rows are."""
LEFT_OUT = "expected faces with landmarks, found none; measure with what needs no faces"
"""What metrics of faces say of themselves."""


def make(folder: Path) -> Path:
    """A report of digits."""
    paths = {name: folder / f"{name}.h5" for name in ("faces", "generator", "latents", "density", "editor")}
    sets = preprocess_params(datasets=[{"name": "digits"}], size=16)
    preprocess.run(paths["faces"], folder / "faces.png", params=sets)
    still = dict.fromkeys(("flip", "shift", "zoom", "rotate", "light", "tint", "mix"), 0.0)
    network = {"name": "unmasked_vae", "codes": 8, "width": 0.1}
    train.run(
        paths["faces"], paths["generator"], folder / "train", params=train_params(augment=still, generator=network)
    )
    invert.run(paths["faces"], paths["generator"], paths["latents"], params=params(invert))
    density.run(paths["latents"], paths["density"], params=params(density, methods={"gmm": {"components": 2}}))
    methods = {"plain": {"name": "mean_difference", "match": []}}
    steered = config.section(
        {"editor": {"attributes": ["digit_3"], "methods": methods, "layers": None, "seed": 0}}, "editor", editor.Params
    )
    editor.run(paths["latents"], None, None, paths["editor"], params=steered)
    files = {"evaluation": folder / "evaluation.h5", "metrics": folder / "metrics.json"}
    measured = config.section(
        config.overlay(config.defaults(), {"evaluate": {"samples": 20}}), "evaluate", evaluate.Params
    )
    some = {k: v for k, v in paths.items() if k != "editor"}
    evaluate.run(
        **some,
        classifier=None,
        output=files["evaluation"],
        metrics=files["metrics"],
        protocols=folder / "protocols.json",
        sheet=folder / "neighbours.png",
        params=measured.model_copy(update={"metrics": METRICS}),
    )
    report.run(
        **paths,
        **files,
        judges=None,
        flame=None,
        optimum=None,
        neighbours=folder / "neighbours.png",
        folder=folder / "train",
        output=folder / "report.html",
        params=params(report, samples=4, people=3),
    )
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make(tmp_path_factory.mktemp("digits"))


def read(page: str) -> str:
    """What a reader is shown or told: texts, and the words that stand for pictures and regions."""
    page = re.sub("<style>.*?</style>", "", page, flags=re.S)
    told = re.findall(r'(?:alt|aria-label|title)="([^"]*)"', page)
    shown = re.sub(r"<[^>]*>", " ", page)
    return html.unescape(re.sub(r"\s+", " ", shown + " ".join(told)))


def test_the_classes_of_digits_are_no_people_of_latents(folder):
    assert "identity" not in artifacts.layout(folder / "latents.h5")


def test_it_says_digits_and_nothing_of_faces(folder):
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count(LEFT_OUT) == 2
    for known in (*NAMES_OF_FILES, LEFT_OUT):
        assert re.search(known, page, re.S), known
        page = re.sub(known, "", page, flags=re.S)
    text = read(page)
    found = re.findall(r".{0,50}(?:face|photo|people|person|\bmasks?\b|landmark|crop).{0,50}", text, re.I)
    assert not found
    for said in (
        "masked_vae turns 16 px digits into 8 numbers and back. It learned from 1157 digits in 12 steps",
        "The digits digits (1797 digits). Digits of 16 px, taken whole.",
        "1157 digits, 10 classes",
        "One digit per class: the one of median error",
        "None of these digits was ever written.",
        "beats principal components of equal code size",
        "Pixels compared: all.",
    ):
        assert said in text


def test_every_content_has_its_nouns():
    assert set(NOUNS) == set(get_args(Content))
