"""mix, inpaint, merge, retouch, deblur, keyframes: what they change, what they leave, what they refuse."""

import json
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import painted
from PIL import Image
from scipy import ndimage
from typer.testing import CliRunner

from fgcli import artifacts, codes, config, inverters
from fgcli.artifacts.outputs import verify_outputs
from fgcli.cli import app
from fgcli.errors import FgError
from fgcli.faces.align import add_change, blend, fill, held, seamless
from fgcli.faces.cutter import Cut, Cutter
from fgcli.faces.photos import BadPhotoError
from fgcli.frames import pictures_of
from fgcli.generators import GENERATORS, store
from fgcli.inverters.optimize import Optimize
from fgcli.pixels import tensor
from fgcli.pixels.video import frames as frames_of
from fgcli.pixels.video import save_video
from fgcli.stages.keyframes import between

SIZE, PHOTO, CORNER = 16, 48, 12
"""Of crops, px; of photos; where the face stands in them, at twice the size of its crop."""
MATRIX = np.array([[0.5, 0, -CORNER / 2 - 0.25], [0, 0.5, -CORNER / 2 - 0.25]], np.float32)
MASK = np.pad(np.full((SIZE - 4, SIZE - 4), 255, np.uint8), 2)
OFF = np.ones((PHOTO, PHOTO), bool)
OFF[CORNER + 4 : CORNER + 2 * SIZE - 4, CORNER + 4 : CORNER + 2 * SIZE - 4] = False


class CornerCutter:
    """Takes the lower right of a photo for the face; a black photo has none."""

    def photo(self, path):
        if not path.is_file():
            raise FgError(f"{path}: expected a photo or a row number, found no such file; check the path")
        try:
            return self.pixels(np.asarray(Image.open(path).convert("RGB")))
        except BadPhotoError as error:
            raise FgError(f"{path}: {error}") from error

    def pixels(self, photo):
        if not photo.any():
            raise BadPhotoError("no face found")
        crop = photo[CORNER : CORNER + 2 * SIZE, CORNER : CORNER + 2 * SIZE].reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
        return Cut(np.rint(crop).astype(np.uint8), MASK, np.zeros((68, 2), np.float32), MATRIX)


def write(folder, build, inverter, start=True):
    """generator.h5 and latents.h5 of a small network."""
    torch.manual_seed(0)
    model = config.build(GENERATORS, build, "test", image_shape=(3, SIZE, SIZE))
    if start:
        model.start(painted(40)[0])
    about = {"ema": model.state_dict(), "build": build, "history": {}, "training": {}, "params": {}, "inputs": {}}
    store.save(folder / "generator.h5", model, **about)
    drawn = codes.prior(model, 8, 0)
    arrays = {
        "codes": drawn.numpy(),
        "error": np.zeros(8, np.float32),
        "attributes": np.zeros((8, 1), np.int8),
        "split": np.zeros(8, np.uint8),
    }
    meta = {"space": drawn.space, "generator": artifacts.sha256(folder / "generator.h5"), "build": build, "seed": 0}
    meta |= {"inverter": inverter, "self_test": {}, "attribute_names": ["odd"]}
    artifacts.save(folder / "latents.h5", artifacts.LATENTS, arrays, params={}, inputs={}, meta=meta)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A generator with one code layer and an encoder, which starts as eigenfaces."""
    build = {"name": "unmasked_vae", "codes": 12, "width": 0.1, "linear": True}
    return write(tmp_path_factory.mktemp("plain"), build, {"name": "encoder"})


@pytest.fixture
def home(plain, tmp_path, monkeypatch):
    """A folder with `out`, and photos of painted faces; the analyser is not asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Cutter, "of", lambda generator, face="largest": CornerCutter())
    Path("out").symlink_to(plain)
    for name, face in zip(("anna", "ben"), painted(2, 2 * SIZE, seed=5)[0], strict=True):
        photo = np.full((PHOTO + 6 * (name == "ben"), PHOTO, 3), 90, np.uint8)
        photo[CORNER : CORNER + 2 * SIZE, CORNER : CORNER + 2 * SIZE] = face
        Image.fromarray(photo).save(f"{name}.png")
    return tmp_path


def fg(*arguments, code=0):
    """What a command prints on stdout, as JSON, and its lines on stderr."""
    done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout) if done.stdout else {}, done.stderr.splitlines()


def pixels(name):
    return np.asarray(Image.open(name).convert("RGB"))


def changed(one, other):
    return (pixels(one) != pixels(other)).any(-1)


def files(folder="."):
    return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file() and path.parts[0] != "out")


# ---- inpaint


@pytest.mark.parametrize("form", ["numbers", "mask"])
def test_inpaint_changes_the_hole_alone_and_nothing_in_it_counts(home, form):
    hole = np.zeros((PHOTO, PHOTO), bool)
    hole[20:31, 18:30] = True
    Image.fromarray(hole).save("hole.png")
    damaged = pixels("anna.png").copy()
    damaged[hole] = (255, 0, 255)
    Image.fromarray(damaged).save("damaged.png")
    where = "18,20,12,11" if form == "numbers" else "hole.png"
    for name in ("anna", "damaged"):
        told, said = fg("inpaint", f"{name}.png", "--hole", where, "-o", "new.png")
        assert told["output"] == ["new.png", f"new-{name}-inpainted.png"]
        assert said == []
    now = changed("new-damaged-inpainted.png", "damaged.png")
    assert not now[~hole].any()
    assert now[hole].all()
    np.testing.assert_array_equal(pixels("new-anna-inpainted.png"), pixels("new-damaged-inpainted.png"))


def test_a_hole_is_filled_by_what_fits_around_it(home):
    """Nearer to what was there than the mean of the rest of the face."""
    fg("inpaint", "anna.png", "--hole", "18,20,12,11", "-o", "new.png")
    part = np.s_[20:31, 18:30]
    was, now = (pixels(name)[part].astype(float) for name in ("anna.png", "new-anna-inpainted.png"))
    rest = pixels("anna.png")[~OFF].mean(0)
    assert np.abs(now - was).mean() < 0.7 * np.abs(rest - was).mean()


def test_what_of_a_hole_lies_off_the_face_is_told(home, monkeypatch):
    _, said = fg("inpaint", "anna.png", "--hole", "4,20,16,10", "-o", "new.png")
    assert said == ["--hole 4,20,16,10: 50% of it lies off the face and stays as it is"]
    assert not changed("new-anna-inpainted.png", "anna.png")[:, :CORNER].any()


@pytest.mark.parametrize(
    ("photo", "hole", "message", "code"),
    [
        ("anna.png", "0,0,6,6", "expected a hole in the face, which lies within 12,12,32,32, found it beside", 1),
        ("anna.png", "0,0,99,99", "expected a hole that leaves a part of the face, found none left", 1),
        ("anna.png", "1,2,3", "expected X,Y,WIDTH,HEIGHT in px of the photo, or a file with a mask", 2),
        ("anna.png", "1,2,0,3", "expected X,Y,WIDTH,HEIGHT in px of the photo, or a file with a mask", 2),
        ("anna.png", "none.png", "expected X,Y,WIDTH,HEIGHT in px of the photo, or a file with a mask", 2),
        ("anna.png", "ben.png", "expected a mask of the photo's size, 48x48 px, found 48x54; resize it", 1),
        ("anna.png", "notes.txt", "--hole notes.txt: not an image", 1),
        ("3", "1,2,3,4", "3: expected a photo, found the number of a row; name a file", 2),
        ("none.png", "1,2,3,4", "none.png: expected a photo or a row number, found no such file", 1),
    ],
)
def test_holes_that_are_none_are_one_sentence_and_write_nothing(home, photo, hole, message, code):
    Path("notes.txt").write_text("notes")
    before = files()
    _, said = fg("inpaint", photo, "--hole", hole, "-o", "new.png", code=code)
    assert len(said) == 1
    assert message in said[0]
    assert files() == before


def test_optimisation_counts_known_pixels_only():
    torch.manual_seed(0)
    model = config.build(GENERATORS, {"name": "pca", "codes": 3}, "test", image_shape=(3, SIZE, SIZE))
    model.fit(painted(40)[0])
    images, known = tensor(painted(2, seed=9)[0]), torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
    known[..., 4:9, 3:12] = False
    inverter = Optimize((3, SIZE, SIZE), steps=5, distance="pixels")
    found = [
        inverter.invert(model, torch.where(known, images, value), inverters.Context(known=known)).values
        for value in (-1.0, 1.0)
    ]
    assert torch.equal(*found)
    everything = inverter.invert(model, images, inverters.Context(known=torch.ones_like(known))).values
    assert torch.equal(everything, inverter.invert(model, images, inverters.Context()).values)


def test_an_encoder_fills_what_is_not_known(plain):
    """The code of the hole that it filled itself is nearer to the whole picture's than that of grey."""
    model, images = store.load(plain / "generator.h5"), tensor(painted(12, seed=9)[0])
    inverter, context = inverters.load(plain / "latents.h5", model)
    known = torch.ones(1, 1, SIZE, SIZE, dtype=torch.bool)
    known[..., 5:9, 4:9] = False
    grey = torch.where(known, images, torch.zeros(()))
    whole, once = (inverter.invert(model, x, context).values for x in (images, grey))
    filled = inverter.invert(model, grey, inverters.Context(known=known)).values
    assert (filled - whole).square().mean() < 0.5 * (once - whole).square().mean()


def test_a_fill_meets_the_photo_at_the_edge_of_the_hole():
    photo = np.full((32, 32, 3), 200, np.uint8)
    hole = np.zeros((32, 32), bool)
    hole[8:24, 8:24] = True
    photo[hole] = 0
    filled = seamless(photo, np.full((32, 32, 3), 100, np.float32), hole, 3.0)
    np.testing.assert_array_equal(filled[~hole], 200)
    np.testing.assert_allclose(filled[8, 12], 200)
    np.testing.assert_allclose(filled[14:18, 14:18], 100)
    assert (np.diff(filled[8:15, 16, 0]) <= 0).all()
    assert (seamless(photo, np.full((32, 32, 3), 100, np.float32), np.ones_like(hole), 3.0) == 100).all()


def test_what_is_filled_blended_or_added_stays_on_the_mask():
    photo = np.full((PHOTO, PHOTO, 3), 50, np.uint8)
    here = held(MASK, MATRIX, photo.shape[:2])
    np.testing.assert_array_equal(here, ~OFF)
    filled = fill(photo, np.full((SIZE, SIZE, 3), 80, np.float32), MATRIX, here, here)
    assert (filled[OFF] == 50).all()
    assert (filled[24:32, 24:32] == 80).all()
    blended = blend(photo, np.full((SIZE, SIZE, 3), 80, np.float32), MATRIX, MASK)
    assert (blended[OFF] == 50).all()
    assert (blended[24:32, 24:32] == 80).all()
    added = add_change(photo, np.full((SIZE, SIZE, 3), 30, np.float32), MATRIX, MASK)
    assert (added[OFF] == 50).all()
    assert not held(MASK, MATRIX + np.array([[0, 0, 900], [0, 0, 0]]), photo.shape[:2]).any()


# ---- merge


def test_merge_shows_both_halves_and_changes_the_first_photo_on_its_face(home):
    told, _ = fg("merge", "anna.png", "ben.png", "-o", "new.png")  # of two sizes
    assert told == {"output": ["new.png", "new-anna-ben.png"], "second": 0.5}
    now = changed("new-anna-ben.png", "anna.png")
    assert now.any()
    assert not now[OFF].any()
    together = pixels("new.png")[18::8][:SIZE][:, -2 * (8 * SIZE + 2) + 2 :: 8][:, :SIZE]
    faces = [CornerCutter().photo(Path(name)).image for name in ("anna.png", "ben.png")]
    np.testing.assert_array_equal(together, np.concatenate([faces[0][:, :8], faces[1][:, 8:]], 1))
    assert fg("merge", 3, "ben.png", "-o", "row.png")[0]["output"] == ["row.png"]  # a row has no photo


def test_a_mask_says_where_the_second_face_stands(home):
    Image.fromarray(np.zeros((64, 64), np.uint8)).save("none.png")
    fg("merge", "anna.png", "ben.png", "--mask", "none.png", "-o", "new.png")
    np.testing.assert_array_equal(pixels("new-anna-ben.png"), pixels("anna.png"))  # its own code: no change
    Path("notes.txt").write_text("notes")
    _, said = fg("merge", "anna.png", "ben.png", "--mask", "notes.txt", "-o", "more.png", code=1)
    assert said == ["fg: --mask notes.txt: not an image, whatever its name says"]


# ---- retouch


def test_retouch_changes_only_where_the_edit_is(home):
    edited = pixels("anna.png").copy()
    edited[22:26, 20:24] = (255, 0, 0)
    edited[:4] = 0  # off the face
    Image.fromarray(edited).save("edited.png")
    told, _ = fg("retouch", "edited.png", "--original", "anna.png", "-o", "new.png")
    now = changed("new-edited-retouched.png", "anna.png")
    assert told["changed_pixels"] == now.sum() > 0
    stroke = np.zeros((PHOTO, PHOTO), bool)
    stroke[22:26, 20:24] = True
    assert not now[ndimage.distance_transform_edt(~stroke) > 8].any()
    fg("retouch", "edited.png", "-o", "all.png")
    whole = changed("all-edited-retouched.png", "edited.png")
    assert not whole[OFF].any()
    assert whole[~OFF].mean() > 0.5


@pytest.mark.parametrize(
    ("original", "message"),
    [
        ("ben.png", "anna.png: expected the size of ben.png, 48x54 px, found 48x48; edit it without resizing"),
        ("copy.png", "anna.png: expected a face edited by hand, found that of copy.png; name the edited file first"),
        ("black.png", "black.png: no face found"),
    ],
)
def test_originals_that_are_none_are_one_sentence(home, original, message):
    Path("copy.png").write_bytes(Path("anna.png").read_bytes())
    Image.new("RGB", (PHOTO, PHOTO)).save("black.png")
    before = files()
    assert fg("retouch", "anna.png", "--original", original, "-o", "new.png", code=1)[1] == [f"fg: {message}"]
    assert files() == before


# ---- deblur


def test_deblur_steps_away_from_the_code_of_the_blurred_face(home):
    told, _ = fg("deblur", "anna.png", 3, "--strength", "-1:1:3", "--blur", 1.5, "-o", "new.png")
    assert told["output"] == ["new.png", *(f"new-anna-{s}.png" for s in ("-1", "+0", "+1"))]
    np.testing.assert_array_equal(pixels("new-anna-+0.png"), pixels("anna.png"))
    assert not changed("new-anna-+1.png", "anna.png")[OFF].any()
    model, face = store.load(Path("out/generator.h5")), CornerCutter().photo(Path("anna.png")).image
    sharp, soft = (
        model.encode(tensor(x[None])) for x in (face, ndimage.gaussian_filter(face, (1.5, 1.5, 0), mode="nearest"))
    )
    expected = model.decode(2 * sharp - soft)[0].permute(1, 2, 0).detach()
    shown = pixels("new.png")[18::8][:SIZE, -8 * SIZE :: 8]  # the last picture of the first row
    np.testing.assert_allclose(shown, (expected + 1) * 127.5, atol=1)


# ---- mix


@pytest.fixture
def styled(tmp_path_factory, home, monkeypatch):
    """A generator with two code layers and no encoder."""
    monkeypatch.setitem(GENERATORS, "toy", "toys:ToyGAN")
    inverter = {"name": "optimize", "steps": 3, "starts": 4, "distance": "pixels"}
    folder = write(tmp_path_factory.mktemp("styled"), {"name": "toy"}, inverter, start=False)
    Path("out").unlink()
    Path("out").symlink_to(folder)
    return home


def test_mix_takes_layers_of_the_columns(styled):
    told, _ = fg("mix", "anna.png", 3, "--with", 5, "--with", "ben.png", "--layers", "1:2", "-o", "new.png")
    assert told["output"] == ["new.png", "new-anna-5.png", "new-anna-ben.png"]
    assert (told["rows"], told["columns"], told["layers"]) == (2, 2, "1:2")
    assert not changed("new-anna-ben.png", "anna.png")[OFF].any()
    model, rows = store.load(Path("out/generator.h5")), codes.reader(Path("out/latents.h5"))([3, 5]).values
    cell = codes.decode(model, codes.Codes(torch.stack([rows[0, 0], rows[1, -1]])[None], "w+"))
    sheet = pixels("new.png")
    left = sheet.shape[1] - 2 * (8 * SIZE + 2) + 2  # the last two columns of cells, in the last row
    shown = sheet[-8 * SIZE :: 8, left : left + 8 * SIZE : 8]
    np.testing.assert_allclose(shown, (cell[0].permute(1, 2, 0) + 1).detach() * 127.5, atol=1)


def test_a_face_mixed_with_itself_is_itself(styled):
    told, _ = fg("mix", "anna.png", "ben.png", "-o", "new.png")
    assert (told["columns"], told["layers"]) == (2, "0:1")
    np.testing.assert_array_equal(pixels("new-anna-anna.png"), pixels("anna.png"))


@pytest.mark.parametrize("layers", ["1:1", "0:3", "x", "1"])
def test_layers_that_are_none_are_refused(styled, layers):
    _, said = fg("mix", 3, "--layers", layers, "-o", "new.png", code=2)
    assert said == [f"fg: --layers {layers}: expected FROM:TO within 0:2, TO not included; write 0:1"]


def test_a_generator_with_one_layer_mixes_nothing(home):
    _, said = fg("mix", 3, 4, "-o", "new.png", code=2)
    assert said == [
        "fg: out/generator.h5: expected a generator whose codes have several layers, found one layer; mix its faces by "
        "fg interpolate or fg merge"
    ]


def test_optimisation_also_projects(styled):
    fg("inpaint", "anna.png", "--hole", "18,20,12,11", "-o", "new.png")
    assert changed("new-anna-inpainted.png", "anna.png")[20:31, 18:30].mean() > 0.9


# ---- keyframes


def written_frames(folder):
    return [pixels(path) for path in sorted(Path(folder).iterdir())]


@pytest.fixture
def frames(home):
    """A folder of 11 frames, the third without a face."""
    Path("frames").mkdir()
    for number in range(1, 12):
        picture = np.roll(pixels("anna.png"), number // 4, 1) if number != 3 else np.zeros((PHOTO, PHOTO, 3), np.uint8)
        Image.fromarray(picture).save(f"frames/f{number}.png")
    return home


def test_a_folder_gets_more_frames_and_one_without_a_face_follows_its_neighbours(frames):
    assert [Path(name).name for name in pictures_of(Path("frames"))] == [f"f{i}.png" for i in range(1, 12)]
    told, said = fg("keyframes", "frames", "--times", 3, "-o", "slow")
    assert told == {"output": "slow", "frames": 11, "written": 33, "faceless": [3]}
    assert said[-1] == "frames: 1 of 11 frames follow their neighbours, without a face: 3"
    pictures = written_frames("slow")
    assert len(pictures) == 33
    assert pictures[0].shape == (SIZE, SIZE, 3)
    assert np.abs(pictures[6].astype(int) - pictures[3]).mean() < np.abs(pictures[6].astype(int) - pictures[32]).mean()
    _, said = fg("keyframes", "frames", "-o", "slow", code=1)
    assert said == ["fg: -o slow: expected a new or empty folder, found one with files; name another"]


def test_codes_between_are_means_by_a_gaussian_window(plain):
    model, values = (
        store.load(plain / "generator.h5"),
        torch.randn(3, 1, 12, generator=torch.Generator().manual_seed(0)),
    )
    at, moments = torch.tensor([0.0, 1.0, 9.0]), torch.tensor([0.0, 0.5, 7.0])
    made = list(between(model, values, at, moments, 0.5))
    share = np.exp(-0.5 / 0.5**2)  # of the neighbour one frame away
    first = (values[0] + share * values[1]) / (1 + share)
    expected = [first, (values[0] + values[1]) / 2, values[2]]  # far from all, the nearest counts
    for picture, code in zip(made, expected, strict=True):
        shown = codes.decode(model, codes.Codes(code[None], "z")).detach()[0].permute(1, 2, 0)
        np.testing.assert_allclose(picture, (shown + 1) * 127.5, atol=1)


@pytest.mark.parametrize(
    ("source", "output", "message", "code"),
    [
        ("none.mp4", "slow", "none.mp4: expected a video or a folder of its frames, found no such file", 1),
        ("frames", "slow.avi", "-o slow.avi: expected a name that ends in .mp4, or a folder's", 2),
        ("frames", "mine.mp4", "mine.mp4: expected nothing or a .mp4 file of fg's to replace, found another", 1),
        ("black", "slow", "black: expected a face in some of 2 frames, found none (black/2.png: no face found)", 1),
        ("one", "slow", "one: expected at least two frames, found 1; give a video, or a folder of its frames", 1),
    ],
)
def test_videos_that_are_none_are_one_sentence(frames, source, output, message, code):
    Path("mine.mp4").write_bytes(b"mine")
    for name, numbers, photo in (("black", (1, 2), Image.new("RGB", (48, 48))), ("one", (1,), Image.open("anna.png"))):
        Path(name).mkdir()
        for number in numbers:
            photo.save(f"{name}/{number}.png")
    before = files()
    _, said = fg("keyframes", source, "-o", output, code=code)
    assert message in said[-1]
    assert files() == before


def test_without_its_package_a_video_is_refused_and_the_extra_named(frames, monkeypatch):
    monkeypatch.setattr("fgcli.pixels.video.find_spec", lambda name: None)
    Path("clip.mp4").write_bytes(b"clip")
    for source, output, name in (("clip.mp4", "slow", "clip.mp4"), ("frames", "slow.mp4", "slow.mp4")):
        _, said = fg("keyframes", source, "-o", output, code=2)
        assert said == [
            f'fg: {name}: expected the package av for videos, found none; pip install "fgcli[video]", or name a folder '
            "of pictures"
        ]


def test_a_video_gets_more_frames_at_its_length(frames):
    av = pytest.importorskip("av")
    fg("keyframes", "frames", "--times", 2, "--rate", 10, "-o", "clip.mp4")
    first = Path("clip.mp4").read_bytes()
    fg("keyframes", "frames", "--times", 2, "--rate", 10, "-o", "clip.mp4")  # its own is replaced
    assert Path("clip.mp4").read_bytes() == first
    verify_outputs([], {"-o": Path("clip.mp4")}, {"-o": ""})
    with av.open("clip.mp4") as video:
        assert (video.streams.video[0].frames, video.streams.video[0].average_rate) == (22, 10)
    frame = np.zeros((PHOTO, PHOTO, 3), np.uint8)
    frame[CORNER : CORNER + 32, CORNER : CORNER + 32] = 128
    save_video(Path("long.mp4"), [frame] * 5, Fraction(10))
    told, _ = fg("keyframes", "long.mp4", "--times", 4, "-o", "slow.mp4")
    assert told == {"output": "slow.mp4", "frames": 5, "written": 20, "faceless": []}
    with av.open("slow.mp4") as video:
        assert video.streams.video[0].average_rate == 40
    Path("damaged.mp4").write_bytes(b"no video")
    _, said = fg("keyframes", "damaged.mp4", "-o", "more.mp4", code=1)
    assert said[-1].startswith("fg: damaged.mp4: expected a video, found invalid data")


def test_a_video_of_a_phone_held_upright_is_turned(home):
    pytest.importorskip("av")
    picture = np.zeros((96, 64, 3), np.uint8)
    picture[:20] = (255, 0, 0)
    save_video(Path("clip.mp4"), [picture] * 2, Fraction(5))
    content = bytearray(Path("clip.mp4").read_bytes())
    matrix = content.index(b"tkhd") + 44  # of the track's header, version 0
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 96 << 16, 0, 1 << 30)
    Path("clip.mp4").write_bytes(content)
    shown = next(frames_of(Path("clip.mp4")))
    assert shown.shape == (64, 96, 3)
    assert (shown[:, -1, 0] > 200).all()  # a quarter clockwise
    assert (shown[:, 0, 0] < 50).all()
