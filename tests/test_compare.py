"""fg evaluate --images A --against B: two sets of pictures by every metric of sets."""

import json

import numpy as np
import pytest
from conftest import painted
from PIL import Image
from typer.testing import CliRunner

from fgcli import artifacts
from fgcli.backbones.pixels import Pixels
from fgcli.cli import app
from fgcli.frechet import Gaussian, frechet
from fgcli.metrics import METRICS
from fgcli.stages import compare

run = CliRunner().invoke


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two folders of 30 painted faces of 16 px each; nobody changes them."""
    made = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp(f"set{seed}")
        for i, picture in enumerate(painted(30, seed=seed)[0]):
            Image.fromarray(picture).save(folder / f"{i:02d}.png")
        made.append(folder)
    return made


def compared(images, against, *more):
    done = run(app, ["evaluate", "--images", str(images), "--against", str(against), *map(str, more)])
    assert done.exit_code == 0, done.output
    return done.output


def test_every_metric_of_sets_is_measured_or_left_out_by_name(folders):
    told = json.loads(compared(*folders, "--json").splitlines()[-1])
    sets = [name for name in METRICS if name in {spec["name"] for spec in compare.specs()}]
    assert {"frechet", "kid", "precision_recall", "prd", "inception_score", "sharpness", "faces_found"} == set(sets)
    for name in sets:
        assert any(key.startswith(name) for key in [*told["numbers"], *told["protocols"]["left_out"]]), name
    assert set(told["numbers"]) == set(told["protocols"]["distribution"])
    assert told["numbers"]["frechet_pixels"]["images"].keys() == {"value", "low", "high"}
    assert told["numbers"]["faces_found"].keys() == {"images", "against"}
    assert list(told["images"].values()) == [30, 30]


def test_the_number_is_that_of_the_features(folders, tmp_path):
    output = tmp_path / "compared.json"
    text = compared(*folders, "-o", output)
    found = json.loads(output.read_text())["numbers"]["frechet_pixels"]["images"]["value"]
    one, other = (Pixels((3, 16, 16))(painted(30, seed=seed)[0]) for seed in (1, 2))
    assert found == pytest.approx(frechet(Gaussian(other), Gaussian(one)), rel=1e-5)
    assert f"frechet_pixels {found:.4g}" in " ".join(text.split())


def test_a_set_against_itself_is_no_distance_away_and_hdf5_keeps_the_features(folders, tmp_path):
    output = tmp_path / "compared.h5"
    told = json.loads(compared(folders[0], folders[0], "-o", output, "--json").splitlines()[-1])
    assert told["numbers"]["frechet_pixels"]["images"]["value"] == pytest.approx(0, abs=1e-6)
    assert told["numbers"]["sharpness"]["images"]["value"] == 1
    stored = artifacts.load(output, artifacts.EVALUATION)
    assert stored["values/features/pixels/images"].shape == (30, 192)
    assert stored.meta["protocols"]["sets"]["against"] == str(folders[0])


def test_rows_of_a_split_are_taken_and_pictures_resized(folders, faces, tmp_path):
    told = json.loads(compared(folders[0], f"{faces}:train", "--size", "8", "--json").splitlines()[-1])
    assert told["images"][f"{faces}:train"] == int((artifacts.rows(faces, "split") == 0).sum())
    assert told["protocols"]["size"] == "8x8 px, resized"


def test_drawn_faces_are_decoded_by_their_generator(rendered, steered):
    one = compare.pictures(str(steered["latents"]), steered["generator"], None)
    other = compare.pictures(str(rendered["faces"]), steered["generator"], None)
    assert one.shape == other.shape
    assert one.read(np.arange(3)).shape == (3, *one.shape, 3)
    assert one.read(np.arange(3)).dtype == np.uint8


def spoilt(folder, what):
    """A folder with a flaw, or none, and its name for the sentence."""
    if what == "few":
        Image.new("RGB", (16, 16)).save(folder / "one.png")
    elif what != "empty":
        for i, picture in enumerate(painted(6)[0]):
            Image.fromarray(picture).save(folder / f"{i}.png")
    if what == "sizes":
        Image.new("RGB", (20, 16)).save(folder / "5.png")
    elif what == "text":
        (folder / "5.png").write_text("no picture")
    elif what == "other":
        for path in folder.iterdir():
            Image.new("RGB", (24, 24)).save(path)


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("few", "expected at least 2 pictures, found 1; add some"),
        ("empty", "expected pictures, found none in it"),
        ("sizes", "5.png: expected 16x16 px, as the first picture has, found 20x16; resize all with --size"),
        ("text", "5.png: expected a picture, found not an image, whatever its name says; remove it"),
        ("other", "expected pictures of 16x16 px, as"),
        ("gone", "expected a folder of pictures or an artifact, found none"),
    ],
)
def test_pictures_that_cannot_be_compared_are_one_sentence(folders, tmp_path, what, sentence):
    folder = tmp_path / "set"
    if what != "gone":
        folder.mkdir()
        spoilt(folder, what)
    output = tmp_path / "compared.json"
    done = run(app, ["evaluate", "--images", str(folder), "--against", str(folders[0]), "-o", str(output)])
    assert done.exit_code == 1
    assert sentence in " ".join(done.output.split())
    assert not output.exists()


def test_metrics_that_want_more_images_are_left_out_with_the_reason(folders, tmp_path):
    few = tmp_path / "few"
    few.mkdir()
    for i, picture in enumerate(painted(3)[0]):
        Image.fromarray(picture).save(few / f"{i}.png")
    told = json.loads(compared(few, folders[0], "--json").splitlines()[-1])
    assert "expected at least" in told["protocols"]["left_out"]["precision_recall_pixels/images"]
    assert (
        "low" not in told["numbers"]["frechet_pixels"]["images"] or told["numbers"]["frechet_pixels"]["images"]["low"]
    )


def test_the_stage_is_still_there_and_tells_of_this():
    done = run(app, ["evaluate", "--help"])
    assert "--images" in done.output
    assert "--faces" in done.output
    assert "--against" in run(app, ["evaluate", "--images", "a", "--help"]).output
