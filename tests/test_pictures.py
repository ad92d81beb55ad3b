"""sample, edit, reconstruct, interpolate: what they write, of many faces and with bad photos among them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import painted
from PIL import Image
from typer.testing import CliRunner

from fgcli import artifacts, codes, config, inverters
from fgcli.cli import app
from fgcli.errors import FgError
from fgcli.faces.cutter import Cut, Cutter
from fgcli.generators import GENERATORS, store
from fgcli.stages import density, editor
from fgcli.stages.sample import save_codes

SIZE, ROWS, SCALE = 16, 40, 8
"""Of the pictures, px; of latents.h5; how much larger sheets show them."""


class SizedCutter:
    """Takes a photo of the generator's size for the face; one whose name says bad has none."""

    def photo(self, path):
        if "bad" in path.name or not path.is_file():
            raise FgError(f"{path}: no face found")
        whole = np.full((SIZE, SIZE), 255, np.uint8)
        return Cut(np.asarray(Image.open(path)), whole, np.zeros((68, 2), np.float32), np.eye(2, 3, dtype=np.float32))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """generator.h5, latents.h5, density.h5 and editor.h5 of a small network that starts as eigenfaces."""
    folder = tmp_path_factory.mktemp("out")
    torch.manual_seed(0)
    build = {"name": "masked_vae", "codes": 6, "width": 0.1, "linear": True}
    model = config.build(GENERATORS, build, "test", image_shape=(3, SIZE, SIZE))
    model.start(painted(40)[0])
    about = {"ema": model.state_dict(), "build": build, "history": {}, "params": {}, "inputs": {}}
    training = {"preprocess": {"size": SIZE, "framing": 0.8}}
    store.save(folder / "generator.h5", model, training=training, **about)
    latents = folder / "latents.h5"
    odd = (np.arange(ROWS) % 2).astype(np.int8)[:, None]
    arrays = {
        "codes": np.random.default_rng(0).standard_normal((ROWS, 1, 6)).astype(np.float32) + odd[:, :, None],
        "error": np.zeros(ROWS, np.float32),
        "attributes": odd,
        "split": np.zeros(ROWS, np.uint8),
    }
    meta = {"space": "z", "generator": artifacts.sha256(folder / "generator.h5"), "build": build, "seed": 0}
    meta |= {"inverter": {"name": "encoder"}, "self_test": {}, "attribute_names": ["odd"]}
    artifacts.save(latents, artifacts.LATENTS, arrays, params={}, inputs={}, meta=meta)
    methods = {"one": {"name": "gaussian"}, "two": {"name": "gmm", "components": 2}}
    density.run(latents, folder / "density.h5", params=density.Params(methods=methods, seed=0))
    methods = {"mean": {"name": "mean_difference"}}
    editor.run(
        latents,
        None,
        None,
        folder / "editor.h5",
        params=editor.Params(methods=methods, attributes=["odd"], layers=None, seed=0),
    )
    return folder


@pytest.fixture
def home(out, tmp_path, monkeypatch):
    """A folder with `out`, and photos of which two are bad; the analyser is not asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Cutter, "of", lambda generator, face="largest": SizedCutter())
    Path("out").symlink_to(out)
    Path("photos/more").mkdir(parents=True)
    for name, image in zip(("anna", "bad1", "ben", "more/cleo"), painted(4, SIZE)[0], strict=True):
        Image.fromarray(image).save(f"photos/{name}.png")
    Path("photos/bad2.jpg").write_text("no photo")
    Path("photos/notes.txt").write_text("notes")
    return tmp_path


def fg(*arguments, code=0):
    """What a command prints on stdout, as JSON, and its lines on stderr."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout else {}, done.stderr.splitlines()


def files(folder="."):
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file() and path.parts[0] != "out")


# ---- sample


@pytest.mark.parametrize("kind", ["prior", "one", "two"])
def test_the_face_of_a_seed_is_the_same_whatever_is_drawn_beside_it(home, kind):
    for count, seed in ((16, 60), (8, 60), (1, 64)):
        told, _ = fg("sample", "-n", count, "--seed", seed, "--density", kind, "-o", f"{count}/new.png")
        names = [f"{count}/new-seed{i:04d}.png" for i in range(seed, seed + count)]
        assert told["output"] == [f"{count}/new.png", *names]
        assert told["codes"] == f"{count}/new.h5"
        assert files(str(count)) == sorted([*told["output"], told["codes"]])
    many, few, one = (artifacts.load(Path(f"{n}/new.h5"), artifacts.SAMPLES) for n in (16, 8, 1))
    np.testing.assert_array_equal(many["codes"][:8], few["codes"])
    np.testing.assert_array_equal(many["codes"][4:5], one["codes"])
    assert many["seed"].tolist() == list(range(60, 76))
    for path in (*files("8"), *files("1")):
        if "seed" in path:
            assert Path(path).read_bytes() == Path("16", Path(path).name).read_bytes()
    faces = [np.asarray(Image.open(f"16/new-seed{i:04d}.png")) for i in range(60, 76)]
    assert faces[0].shape == (SIZE, SIZE, 3)
    assert len({face.tobytes() for face in faces}) == 16
    sheet = np.asarray(Image.open("16/new.png"))
    np.testing.assert_array_equal(sheet[: SCALE * SIZE : SCALE, : SCALE * SIZE : SCALE], faces[0])


def test_drawn_faces_are_rows_of_their_own_file(home):
    fg("sample", "-n", 3, "--seed", 5, "-o", "new.png")
    fg("reconstruct", 2, "--latents", "new.h5", "-o", "one.png")
    sheet, face = (np.asarray(Image.open(name)) for name in ("one.png", "new-seed0007.png"))
    left = sheet.shape[1] - 3 * (SCALE * SIZE + 2) + 2
    np.testing.assert_array_equal(sheet[18::SCALE, left : left + SCALE * SIZE : SCALE], face)
    fg("edit", 0, 1, "--latents", "new.h5", "-a", "odd", "-o", "edit.png")
    assert fg("interpolate", 0, 1, 2, "--latents", "new.h5", "-o", "walk.png")[0]["pairs"] == 2
    _, said = fg("reconstruct", 3, "--latents", "new.h5", "-o", "no.png", code=1)
    assert said == ["fg: new.h5: expected a row below 3, found 3; choose another row"]
    _, said = fg("reconstruct", "photos/anna.png", "--latents", "new.h5", "-o", "no.png", code=1)
    assert said[-1].startswith("fg: new.h5: expected a latents/2 file, found a samples/1 file")


def test_conditions_of_drawn_faces_come_back(home):
    pool = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 6), np.uint8)
    drawn = codes.conditioned(codes.Codes(torch.randn(9, 1, 6), "z"), pool, 2)
    save_codes(Path("new.h5"), drawn, None, "one", 2, 1.0, {"generator": Path("out/generator.h5")})
    read = codes.reader(Path("new.h5"))([3, 8])
    assert torch.equal(read.values, drawn.values[[3, 8]])
    assert torch.equal(read.condition, drawn.condition[[3, 8]])
    with pytest.raises(FgError, match=r"new.h5: expected a latents/2 file, found a samples/1 file"):
        inverters.load(Path("new.h5"), store.load(Path("out/generator.h5")))


@pytest.mark.parametrize("name", ["new-seed0001.png", "new.h5"])
def test_what_sample_derives_loses_no_file(home, name):
    Path(name).write_text("mine")
    _, said = fg("sample", "-n", 2, "-o", "new.png", code=1)
    assert said[0].startswith(f"fg: {name}: expected nothing or a")
    assert [path for path in files() if path.startswith("new")] == [name]
    assert Path(name).read_text() == "mine"
    Path(name).unlink()
    for _ in range(2):
        fg("sample", "-n", 2, "-o", "new.png")  # its own are replaced


def test_seeds_end(home):
    _, said = fg("sample", "-n", 2, "--seed", 2**63 - 1, "-o", "new.png", code=2)
    assert "--seed 9223372036854775807: expected 2 seeds below 9223372036854775808 from it on" in said[0]
    fg("sample", "-n", 2, "--seed", 2**63 - 2, "-o", "new.png")


def test_sheets_that_their_format_cannot_hold_are_refused_before_the_work(home):
    before, many = files(), ["0"] * 130
    for arguments in (
        ("sample", "-n", 130, "--columns", 1),
        ("reconstruct", *many),
        ("edit", *many, "-a", "odd"),
        ("interpolate", *many),
    ):
        _, said = fg(*arguments, "-o", "new.webp", code=2)
        assert said[0].startswith("fg: new.webp: expected a picture of at most 16383 px a side, found ")
    assert files() == before
    fg("reconstruct", *many, "-o", "new.png")


# ---- many photos


def test_a_folder_is_its_photos_and_bad_ones_are_left_out(home):
    told, said = fg("edit", "photos", 3, "-a", "odd", "--strength", 1, "-o", "new/strip.png", code=1)
    bad = ["photos/bad1.png", "photos/bad2.jpg"]
    assert told["left_out"] == bad
    assert told["output"] == ["new/strip.png", *(f"new/strip-{name}-+1.png" for name in ("anna", "ben", "cleo"))]
    assert files("new") == sorted(told["output"])
    assert said[0] == "photos: 5 photos; 1 other files are not read: 1 .txt"
    assert said[1:3] == [f"{name}: no face found; left out" for name in bad]
    assert said[3].startswith("faces: 6/6 faces")
    assert said[4:] == [
        "fg: PHOTO|FOLDER: expected a usable face in every photo, found none in 2 "
        "(photos/bad1.png, photos/bad2.jpg); the others are done"
    ]
    height = SCALE * SIZE + 2 * 15 + 2  # of three photos and a row, with a warning of two lines
    assert Image.open("new/strip.png").height == 18 + 4 * height - 2
    fg("edit", "photos/anna.png", "photos/ben.png", "photos/more", 3, "-a", "odd", "--strength", 1, "-o", "strip.png")
    for name in ("strip.png", "strip-ben-+1.png"):
        assert Path(name).read_bytes() == Path("new", name).read_bytes()  # as if the bad ones had not been named


def test_what_fg_wrote_into_a_folder_is_no_photo_of_it(home):
    first, _ = fg("edit", "photos", "-a", "odd", "--strength", 1, "-o", "photos/strip.png", code=1)
    written = {path: path.read_bytes() for path in map(Path, first["output"])}
    second, said = fg("edit", "photos", "-a", "odd", "--strength", 1, "-o", "photos/strip.png", code=1)
    assert said[0] == "photos: 5 photos; 5 other files are not read: 1 .txt, 4 written by fg"
    assert second == first
    assert written == {path: path.read_bytes() for path in written}


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        (["reconstruct", "photos/bad1.png"], "fg: photos/bad1.png: no face found"),
        (["edit", "none.jpg", "-a", "odd"], "fg: none.jpg: no face found"),
        (["interpolate", "photos/bad1.png", "3"], "fg: photos/bad1.png: no face found"),
        (
            ["reconstruct", "photos/bad1.png", "none.jpg"],
            "fg: PHOTO|FOLDER|ROW: expected at least 1 usable among 2 faces, found none in 2 "
            "(photos/bad1.png, none.jpg); choose others",
        ),
        (
            ["interpolate", "3", "photos/bad1.png", "none.jpg"],
            "fg: PHOTO|FOLDER|ROW: expected at least 2 usable among 3 faces, found none in 2 "
            "(photos/bad1.png, none.jpg); choose others",
        ),
        (
            ["edit", "photos", "40", "-a", "odd"],
            "fg: out/latents.h5: expected a row below 40, found 40; choose another",
        ),
        (["reconstruct", "empty"], "fg: empty: expected photos (.avif"),
        (["reconstruct", "ours"], "found none but 1 that fg wrote; name these one by one"),
        (["interpolate", "photos/more"], "fg: PHOTO|FOLDER|ROW: expected at least two faces to walk between, found 1"),
    ],
)
def test_without_a_usable_face_nothing_is_written(home, arguments, last):
    Path("empty").mkdir()
    fg("reconstruct", 3, "-o", "ours/sheet.png")
    before = files()
    told, said = fg(*arguments, "-o", "new/sheet.png", code=2 if "photos/more" in arguments else 1)
    assert told == {}
    assert last in said[-1]
    assert files() == before


def test_a_walk_leaves_bad_photos_out_where_two_faces_remain(home):
    told, said = fg("interpolate", "photos/anna.png", "photos/bad1.png", 3, 4, "-o", "walk.png", code=1)
    assert (told["pairs"], told["left_out"]) == (2, ["photos/bad1.png"])
    assert said[0] == "photos/bad1.png: no face found; left out"
    fg("interpolate", "photos/anna.png", 3, 4, "-o", "without.png")
    assert Path("walk.png").read_bytes() == Path("without.png").read_bytes()
