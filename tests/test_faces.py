"""Photos of every bad kind; alignment against formulas and scikit-image; masks; analysers."""

import struct
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from skimage.transform import AffineTransform
from skimage.transform import warp as skimage_warp

from fgcli.config import build
from fgcli.datasets.orl import orl
from fgcli.errors import FgError, UsageError
from fgcli.faces import ANALYSERS, SEGMENTERS, align
from fgcli.faces.cutter import Cutter, Settings
from fgcli.faces.landmark_hull import fill, outline
from fgcli.faces.landmarks import MIRROR, Face, averaged, flaw, turn
from fgcli.faces.overlay import overlay, with_numbers
from fgcli.faces.photos import BadPhotoError, decode, decode_mask
from fgcli.faces.turns import analyse_turned
from fgcli.faces.view import View, rescaled
from fgcli.reports.grid import save_picture


def gradient(height: int, width: int) -> np.ndarray:
    """A smooth picture, uint8 (h, w, 3)."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 23 + y / 31), np.cos(x / 19), np.sin(y / 17)]
    return (127.5 + 100 * np.stack(waves, -1)).round().astype(np.uint8)


def face_points() -> np.ndarray:
    """68 points of a schematic frontal face, symmetrical about x = 100."""
    points = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([100 + 60 * np.cos(angle), 90 + 80 * np.sin(angle)], 1)
    points[17:22] = np.stack([np.linspace(55, 90, 5), [74, 68, 66, 68, 72]], 1)
    points[27:31] = np.stack([np.full(4, 100), np.linspace(90, 115, 4)], 1)
    points[31:36] = np.stack([np.linspace(88, 112, 5), [122, 124, 125, 124, 122]], 1)
    points[36:42] = [[66, 90], [71, 86], [79, 86], [84, 90], [79, 93], [71, 93]]
    points[48:55] = np.stack([np.linspace(78, 122, 7), [142, 138, 136, 137, 136, 138, 142]], 1)
    points[55:60] = np.stack([np.linspace(114, 86, 5), [149, 152, 153, 152, 149]], 1)
    points[60:65] = np.stack([np.linspace(82, 118, 5), [142, 141, 141, 141, 142]], 1)
    points[65:68] = np.stack([np.linspace(110, 90, 3), [144, 145, 144]], 1)
    points[22:27] = [200, 0] + points[17:22][::-1] * [-1, 1]
    right = [45, 44, 43, 42, 47, 46]
    points[right] = [200, 0] + points[36:42] * [-1, 1]
    return points


# ---- photos


def test_good_photos(tmp_path):
    grey, rgb = gradient(20, 30)[..., 0], gradient(20, 30)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(rgb).save(tmp_path / "rgb.png")
    Image.fromarray(rgb).quantize(8).save(tmp_path / "palette.png")
    assert (decode(tmp_path / "grey.png").pixels == grey[..., None]).all()
    assert (decode(tmp_path / "rgb.png").pixels == rgb).all()
    assert decode(tmp_path / "palette.png").pixels.shape == (20, 30, 3)


def test_exif_rotation(tmp_path):
    image = gradient(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    Image.fromarray(image).save(tmp_path / "turned.png", exif=exif)
    assert (decode(tmp_path / "turned.png").pixels == np.rot90(image, -1)).all()


def _text(path):
    path.write_text("this is no picture")


def _truncated(path):
    Image.fromarray(gradient(200, 200)).save(path)
    path.write_bytes(path.read_bytes()[:3000])


def _damaged(path):
    Image.fromarray(gradient(50, 50)).save(path, "PNG")
    whole = bytearray(path.read_bytes())
    whole[60:200] = bytes(140)
    path.write_bytes(whole)


def huge(path):
    """The header of a photo of 20,000 x 20,000 px, and nothing after it."""
    path.write_bytes(b"P6 20000 20000 255\n")


BAD = {
    "text": (_text, "not an image"),
    "empty": (lambda p: p.write_bytes(b""), "not an image"),
    "truncated": (_truncated, "truncated JPEG file"),
    "damaged": (_damaged, "(damaged|truncated) PNG file"),
    "gone": (lambda p: None, "no such file"),
    "folder": (lambda p: p.mkdir(), "damaged image header"),
    "tiny": (lambda p: Image.new("RGB", (1, 1)).save(p), "1x1 px, smaller than preprocess.min_px=32"),
    "huge": (
        huge,
        "20000x20000 px, larger than .*max_megapixels=100",
    ),
    "cmyk": (lambda p: Image.new("CMYK", (40, 40)).save(p, "JPEG"), "CMYK photo"),
    "rgba": (lambda p: Image.new("RGBA", (40, 40)).save(p, "PNG"), "transparent photo"),
    "16-bit": (lambda p: Image.fromarray(np.zeros((40, 40), np.uint16)).save(p, "PNG"), "16-bit photo"),
    "16-bit pgm": (lambda p: p.write_bytes(b"P5 40 40 65535\n" + bytes(3200)), "16-bit photo"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_photos_give_one_sentence(tmp_path, kind):
    make, message = BAD[kind]
    path = tmp_path / "photo.jpg"
    make(path)
    with pytest.raises(BadPhotoError, match=message) as caught:
        decode(path, min_px=32, max_megapixels=100)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["cmyk", "rgba", "16-bit", "16-bit pgm"])
def test_fix_converts(tmp_path, kind):
    path = tmp_path / "photo.jpg"
    BAD[kind][0](path)
    pixels = decode(path, fix=True).pixels
    assert (pixels.shape, pixels.dtype) == ((40, 40, 3), np.uint8)


def test_fix_keeps_the_picture(tmp_path):
    image = gradient(40, 40)
    Image.fromarray(image[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert (decode(tmp_path / "deep.png", fix=True).pixels == image[..., :1]).all()
    clear = np.dstack([image, np.full((40, 40), 255, np.uint8)])
    clear[:10, :, 3] = 0
    Image.fromarray(clear).save(tmp_path / "clear.png")
    fixed = decode(tmp_path / "clear.png", fix=True).pixels
    assert (fixed[:10] == 255).all()
    assert (fixed[10:] == image[10:]).all()


def adobe_rgb() -> bytes:
    """An ICC profile of Adobe RGB (1998): its primaries, adapted to D50, and its gamma."""

    def xyz(*values):
        return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in values))

    curve = b"curv" + bytes(4) + struct.pack(">IHxx", 1, round(2.19921875 * 256))
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I6s", 6, b"Adobe\0") + bytes(78),
        b"wtpt": xyz(0.9642, 1, 0.8249),
        b"rXYZ": xyz(0.60974, 0.31111, 0.01947),
        b"gXYZ": xyz(0.20528, 0.62567, 0.06087),
        b"bXYZ": xyz(0.14919, 0.06322, 0.74457),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s28x3i48x",
        128 + len(table) + len(body),
        0x02100000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        b"acsp",
        63190,
        65536,
        54061,
    )
    return head + table + body


def test_colours_are_read_as_srgb(tmp_path):
    """Against the formulas of both spaces: IEC 61966-2-1, and Adobe RGB (1998)."""
    Image.new("RGB", (40, 40), (180, 100, 90)).save(tmp_path / "adobe.jpg", quality=100, icc_profile=adobe_rgb())
    Image.new("RGB", (40, 40), (180, 100, 90)).save(tmp_path / "plain.png")
    photo = decode(tmp_path / "adobe.jpg")
    to_xyz = [[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]]
    to_srgb = [[3.24063, -1.53721, -0.49863], [-0.96893, 1.87576, 0.04152], [0.05571, -0.20402, 1.05700]]
    light = np.array(to_srgb) @ np.array(to_xyz) @ (photo.own[0, 0] / 255) ** 2.19921875
    expected = 255 * (1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(photo.pixels[0, 0] - expected).max() <= 1
    assert photo.pixels[0, 0, 0] - photo.own[0, 0, 0] > 10
    assert photo.notes == ()
    plain = decode(tmp_path / "plain.png")
    assert (plain.pixels == plain.own).all()
    assert plain.profile is None


def test_edited_photos_keep_their_own_colours(tmp_path):
    image = gradient(40, 40)
    Image.fromarray(image).save(tmp_path / "adobe.png", icc_profile=adobe_rgb())
    photo = decode(tmp_path / "adobe.png")
    assert (photo.edited(photo.pixels) == image).all()
    lighter = photo.pixels.copy()
    lighter[:20] = np.minimum(lighter[:20], 235) + 20
    own = photo.edited(lighter)
    assert (own[20:] == image[20:]).all()
    save_picture(tmp_path / "lighter.png", Image.fromarray(own), photo.profile)
    again = decode(tmp_path / "lighter.png")
    assert again.profile == adobe_rgb()
    middle = (photo.pixels > 60).all(2) & (photo.pixels < 200).all(2)
    assert middle[:20].any()
    assert np.abs(again.pixels[middle].astype(int) - lighter[middle]).max() <= 3


@pytest.mark.parametrize("profile", [b"no profile", adobe_rgb()[:200], adobe_rgb().replace(b"RGB ", b"CMYK", 1)])
def test_broken_profiles_are_ignored_and_noted(tmp_path, profile):
    image = gradient(40, 40)
    Image.fromarray(image).save(tmp_path / "photo.png", icc_profile=profile)
    photo = decode(tmp_path / "photo.png")
    assert (photo.pixels == image).all()
    assert photo.profile is None
    assert photo.notes == ("colour profile that cannot be read ignored",)


def test_a_grey_photo_with_a_profile_of_colours(tmp_path):
    Image.fromarray(gradient(40, 40)[..., 0]).save(tmp_path / "grey.png", icc_profile=adobe_rgb())
    photo = decode(tmp_path / "grey.png")
    assert (photo.pixels.shape, photo.notes) == ((40, 40, 3), ())


def test_what_was_converted_is_noted(tmp_path):
    for kind, note in (("cmyk", "CMYK converted to RGB"), ("16-bit", "16-bit"), ("rgba", "transparent laid on white")):
        BAD[kind][0](tmp_path / "photo.jpg")
        (found,) = decode(tmp_path / "photo.jpg", fix=True).notes
        assert found.startswith(note)


def test_formats_of_phones(tmp_path, monkeypatch):
    Image.fromarray(gradient(40, 40)).save(tmp_path / "a.avif", quality=95)
    assert np.abs(decode(tmp_path / "a.avif").pixels.astype(int) - gradient(40, 40)).mean() < 5
    (tmp_path / "a.heic").write_bytes(b"....ftypheic")
    monkeypatch.setattr("fgcli.faces.photos.find_spec", lambda _: None)
    with pytest.raises(BadPhotoError, match=r'needs the package pillow-heif; pip install "fgcli\[heic\]"'):
        decode(tmp_path / "a.heic")


def test_heic_is_read_with_its_package(tmp_path):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(gradient(64, 64))).save(tmp_path / "a.heic", quality=95)
    assert np.abs(decode(tmp_path / "a.heic").pixels.astype(int) - gradient(64, 64)).mean() < 8


@pytest.mark.parametrize("to", ["gone.jpg", "link.jpg"])
def test_links_that_lead_nowhere(tmp_path, to):
    (tmp_path / "link.jpg").symlink_to(to)
    with pytest.raises(BadPhotoError, match=f"a link to {to}, which is not there"):
        decode(tmp_path / "link.jpg")


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_mask_files(tmp_path, white):
    values = np.array([[0, 0.49], [0.51, 1]]) * white
    Image.fromarray(values.round().astype(np.uint16 if white > 255 else np.uint8)).save(tmp_path / "mask.png")
    assert decode_mask(tmp_path / "mask.png").tolist() == [[False, False], [True, True]]


def test_masks_are_turned_as_photos_are(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    mask = gradient(20, 30)[..., 0]
    Image.fromarray(mask).save(tmp_path / "mask.png", exif=exif)
    assert (decode_mask(tmp_path / "mask.png") == np.rot90(mask > 127, -1)).all()


# ---- alignment


def test_crop_transform_is_the_ffhq_quad():
    rng = np.random.default_rng(0)
    points = face_points() @ np.array([[0.9, 0.3], [-0.3, 0.9]]) + rng.normal(0, 2, (68, 2))
    left, right = points[36:42].mean(0), points[42:48].mean(0)
    eyes, across = (left + right) / 2, right - left
    down = (points[48] + points[54]) / 2 - eyes
    x = across - np.flipud(down) * [-1, 1]
    x *= max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8) / np.hypot(*x)
    y = np.flipud(x) * [-1, 1]
    centre = eyes + down * 0.1
    quad = np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])
    corners = align.apply(align.crop_transform(points, 256, 1.0), quad)
    np.testing.assert_allclose(corners, [[-0.5, -0.5], [-0.5, 255.5], [255.5, 255.5], [255.5, -0.5]], atol=1e-9)


def test_framing_scales_about_the_centre():
    wide, tight = (align.crop_transform(face_points(), 64, f) for f in (1.0, 0.5))
    np.testing.assert_allclose(tight[:, :2], 2 * wide[:, :2])
    middle = align.apply(align.invert(wide), np.array([[31.5, 31.5]]))
    np.testing.assert_allclose(align.apply(tight, middle), [[31.5, 31.5]])


def test_crop_transform_undoes_a_similarity():
    points, turned = face_points(), np.array([[0.8, -0.6, 5], [0.6, 0.8, -7]]) * 1.7
    one = align.crop_transform(points, 64)
    two = align.crop_transform(align.apply(turned, points), 64)
    np.testing.assert_allclose(align.compose(two, turned), one, atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1.6, 0.7])
def test_warp_agrees_with_scikit_image(scale):
    image = gradient(120, 150)
    matrix = np.array([[np.cos(0.3), np.sin(0.3), 3], [-np.sin(0.3), np.cos(0.3), 20]])
    matrix *= scale
    ours = align.warp(image, matrix, 64)
    there = AffineTransform(np.vstack([align.invert(matrix), [0, 0, 1]]))
    theirs = skimage_warp(image, there, output_shape=(64, 64), order=1, mode="symmetric", preserve_range=True)
    assert np.abs(ours - theirs).max() < 1.5


def test_warp_does_not_alias():
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)
    crop = align.warp(np.repeat(checks[..., None], 3, 2), np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 64)
    assert np.abs(crop.astype(int) - 127.5).max() <= 1
    means = align.warp(gradient(256, 256), np.array([[0.25, 0, -0.375], [0, 0.25, -0.375]]), 64)
    blocks = gradient(256, 256).reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(means - blocks).max() <= 0.51


def test_warp_reflects_at_the_borders():
    image = gradient(40, 40)
    crop = align.warp(image, np.array([[1.0, 0, 10], [0, 1, 10]]), 60)
    assert (crop == np.pad(image, ((10, 10), (10, 10), (0, 0)), "symmetric")).all()


def test_warp_in_bands_is_the_same(monkeypatch):
    image, matrix = gradient(300, 300), align.crop_transform(face_points(), 48)
    whole = align.warp(image, matrix, 48)
    monkeypatch.setattr(align, "BAND_PX", 500)
    assert (align.warp(image, matrix, 48) == whole).all()


def test_warped_masks_end_at_the_photo():
    crop = align.warp_mask(np.ones((40, 40), bool), np.array([[1.0, 0, 10], [0, 1, 10]]), 60)
    assert crop.sum() == 255 * 40 * 40
    assert (crop[10:50, 10:50] == 255).all()


def test_no_change_leaves_the_photo():
    photo, matrix = gradient(220, 200), align.crop_transform(face_points(), 64, 0.9)
    mask = fill(outline(align.apply(matrix, face_points()), 1.5), 64)
    assert (align.add_change(photo, np.zeros((64, 64, 3)), matrix, mask) == photo).all()


@pytest.mark.parametrize("size", [16, 40, 400])
def test_a_change_is_added_inside_the_mask_and_nowhere_else(size):
    photo, matrix = gradient(220, 200) // 2, align.crop_transform(face_points(), size, 0.9)
    mask = fill(outline(align.apply(matrix, face_points()), 1.5), size)
    result = align.add_change(photo, np.full((size, size, 3), 40.0), matrix, mask)
    at = align.apply(matrix, np.stack(np.meshgrid(np.arange(200), np.arange(220)), -1).reshape(-1, 2))
    x, y = np.clip(np.rint(at), -1, size).astype(int).T
    on = (np.pad(mask, 1)[y + 1, x + 1] > 127).reshape(220, 200)
    assert (result[~on] == photo[~on]).all()
    assert (result[115, 100] == photo[115, 100] + 40).all()
    assert (result != photo).all(2)[on].mean() > 0.3


def test_a_change_keeps_the_detail_of_a_large_photo():
    """Noise of single pixels survives where 16 px of crop cover 160 px of face: only the change is resampled."""
    photo = np.random.default_rng(0).integers(60, 180, (220, 200, 3), np.uint8)
    matrix = align.crop_transform(face_points(), 16, 0.5)
    result = align.add_change(photo, np.full((16, 16, 3), 30.0), matrix, np.full((16, 16), 255, np.uint8))
    assert (result[100:130, 90:110] == photo[100:130, 90:110] + 30).all()


def test_a_change_beyond_the_photo():
    photo = gradient(50, 50)
    away = np.array([[1.0, 0, -500], [0, 1, 0]])
    assert (align.add_change(photo, np.full((32, 32, 3), 9.0), away, np.full((32, 32), 255, np.uint8)) == photo).all()


def made_face(x: float, width: float) -> Face:
    return Face((x, 0, x + width, width), face_points() * width / 200 + [x, 0], 1.0)


def test_choose():
    small, large = made_face(40, 20), made_face(200, 60)
    assert align.choose([small], "only") is small
    assert align.choose([small, large], "largest") is large
    assert align.choose([large, small], "centre", (100, 100)) is small
    with pytest.raises(FgError, match=r"2 faces found, expected one; set preprocess\.face=largest"):
        align.choose([small, large], "only")
    with pytest.raises(FgError, match="no face found"):
        align.choose([], "largest")


def test_faces_are_numbered_from_left_to_right():
    left, middle, right = made_face(0, 20), made_face(30, 90), made_face(100, 20)
    faces = [right, left, middle]
    assert align.numbered(faces) == [left, middle, right]
    assert [align.choose(faces, number) for number in ("1", "2", "3")] == [left, middle, right]
    for number in ("0", "4"):
        with pytest.raises(FgError, match=rf"3 faces found, expected a face {number}"):
            align.choose(faces, number)


def crowd(*faces, face="only", min_face=0):
    """A cutter that finds these faces in any photo."""
    analyser, segmenter = {"name": "dlib"}, {"name": "landmark_hull"}
    cutter = Cutter(Settings(16, 1.0, face, analyser, segmenter, True, 1, 9.0, min_face=min_face))
    cutter.analyser = SimpleNamespace(analyse=lambda image: list(faces))
    return cutter


def test_each_face_of_a_photo_is_cut_and_what_cannot_be_is_told(tmp_path, capsys):
    Image.fromarray(gradient(300, 240)).save(path := tmp_path / "a.png")
    one, other = made_face(10, 60), made_face(180, 60)
    profile, badge = replace(made_face(90, 60), flaw="turned"), replace(made_face(0, 9), flaw="odd", sure=False)
    with pytest.raises(
        FgError, match=r"a.png: 2 faces found, expected one; choose with --face 1 to 2, from left"
    ) as told:
        crowd(other, one).photo(path)
    assert [face.box for face in told.value.__cause__.faces] == [one.box, other.box]
    cuts = crowd(badge, other, profile, one, face="all").faces(path)
    assert [cut.number for cut in cuts] == [1, 3]
    assert (cuts[1].image == crowd(other, one, face="2").photo(path).image).all()
    assert "a.png: face 2: turned; left out" in capsys.readouterr().err
    assert crowd(one, badge).photo(path).number == 0  # a badge is no second face
    with pytest.raises(FgError, match="a.png: face 1: turned"):
        crowd(profile, face="all").faces(path)


def test_small_faces_are_refused_and_enlargements_known(tmp_path):
    Image.fromarray(gradient(300, 240)).save(path := tmp_path / "a.png")
    cut = crowd(made_face(10, 60)).photo(path)
    side = 16 / align.enlargement(cut.matrix)
    assert crowd(made_face(10, 60), min_face=round(side) - 1).photo(path).matrix.shape == (2, 3)
    with pytest.raises(FgError, match=rf"face of {side:.0f} px, smaller than preprocess.min_face={round(side) + 1}"):
        crowd(made_face(10, 60), min_face=round(side) + 1).photo(path)


def test_a_preview_numbers_every_face():
    photo = gradient(100, 200)
    page = np.asarray(with_numbers(photo, [made_face(10, 30), made_face(150, 30)]))
    assert page.shape == photo.shape
    changed = (page != photo).any((0, 2))
    assert changed[10:41].all()
    assert changed[150:181].all()
    assert not changed[80:140].any()
    assert with_numbers(np.zeros((4000, 100, 3), np.uint8), []).height == 1600


# ---- landmarks


def test_mirror_order_is_that_of_a_symmetrical_face():
    points = face_points()
    mirrored = points[MIRROR] * [-1, 1] + [200, 0]
    np.testing.assert_allclose(mirrored, points, atol=1e-9)


def test_averaged_landmarks_of_a_perfect_predictor_agree():
    image, points = gradient(220, 201), face_points()
    skewed, boxes = np.add(points, [3, 0]), []

    def predict(pixels, box):
        seen = skewed if (pixels == image).all() else skewed[MIRROR] * [-1, 1] + [200, 0]
        boxes.append(box)
        return seen

    found, doubt = averaged(image, (30, 60, 160, 170), predict)
    assert boxes == [(30, 60, 160, 170), (40, 60, 170, 170)]
    np.testing.assert_allclose(found, skewed)
    assert doubt == pytest.approx(0, abs=1e-12)


def test_flaws():
    points = face_points()
    assert flaw(points, 0.02) == ""
    assert "mirror image by 15%" in flaw(points, 0.15)
    profile = points.copy()
    profile[27, 0] = points[16, 0] - 5
    assert turn(points) == pytest.approx(0)
    assert "profile" in flaw(profile, 0.02)


def test_rescaled_frames_show_the_same():
    small = align.crop_transform(face_points(), 32)
    np.testing.assert_allclose(rescaled(small, 32, 128), align.crop_transform(face_points(), 128))


# ---- segmenters


def test_hull_covers_eyes_mouth_and_forehead_not_hair():
    points, photo = face_points(), gradient(220, 200)
    matrix = align.crop_transform(points, 128, 1.0)
    mask = build(SEGMENTERS, {"name": "landmark_hull"}, "s").segment(View(photo, points, matrix, 128))
    assert set(np.unique(mask)) == {0, 255}
    inner = align.apply(matrix, points[17:]).round().astype(int)
    assert (mask[inner[:, 1], inner[:, 0]] == 255).all()
    top = points[36:48].mean(0) - [0, 1.5 * (points[33, 1] - points[36:48, 1].mean())]
    for offset, value in ((3, 255), (-3, 0)):
        x, y = align.apply(matrix, np.add(top, [0, offset])[None])[0].round().astype(int)
        assert mask[y, x] == value


def test_fill_has_the_polygons_area():
    square = np.array([[9.5, 9.5], [29.5, 9.5], [29.5, 39.5], [9.5, 39.5]])
    assert (fill(square, 50) == 255).sum() == pytest.approx(600, rel=0.05)
    angle = np.linspace(0, 2 * np.pi, 200)[:, None]
    disc = 32 + 20 * np.hstack([np.cos(angle), np.sin(angle)])
    assert (fill(disc, 64) == 255).sum() == pytest.approx(np.pi * 400, rel=0.02)


def test_given_masks_follow_the_crop():
    points, photo = face_points(), gradient(220, 200)
    matrix = align.crop_transform(points, 64)
    left_half = np.zeros((220, 200), bool)
    left_half[:, :100] = True
    given = build(SEGMENTERS, {"name": "given"}, "s")
    mask = given.segment(View(photo, points, matrix, 64, left_half))
    assert (mask[20:44, 8:28] == 255).all()
    assert (mask[:, 40:] == 0).all()
    with pytest.raises(FgError, match="no mask file"):
        given.segment(View(photo, points, matrix, 64))


def test_segmenter_arguments_are_checked():
    with pytest.raises(UsageError, match=r"s.forehead: input should be less than or equal to 2.5, found 9"):
        build(SEGMENTERS, {"name": "landmark_hull", "forehead": 9}, "s")


def test_overlay_draws_outline_and_dots():
    image, points = np.full((32, 32, 3), 90, np.uint8), np.full((68, 2), 15.5)
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    tile = overlay(image, mask, points, 64)
    assert tile.shape == (64, 64, 3)
    assert (tile[16, 16:48] == [0, 230, 90]).all()
    assert (tile[31, 31] == [255, 60, 60]).all()
    assert (tile[4, 4] == 90).all()


# ---- dlib


@pytest.fixture(scope="module")
def dlib():
    return build(ANALYSERS, {"name": "dlib"}, "preprocess.analyser")


@pytest.mark.parametrize("photo", [0, 20, 100, 205, 310, 399])
def test_dlib_finds_one_plausible_face_in_orl(dlib, photo):
    image = decode(orl().photos[photo].path).pixels
    (face,) = dlib.analyse(image)
    assert face.flaw == ""
    left, right, mouth = (face.landmarks[s].mean(0) for s in (slice(36, 42), slice(42, 48), slice(48, 68)))
    assert 18 < right[0] - left[0] < 45
    assert abs(right[1] - left[1]) < 8
    assert 18 < mouth[1] - (left[1] + right[1]) / 2 < 45
    assert face.box[0] < left[0] < right[0] < face.box[2]


def test_dlib_gives_the_mirror_image_the_mirrored_landmarks(dlib):
    image = decode(orl().photos[12].path).pixels
    (face,), (mirrored,) = dlib.analyse(image), dlib.analyse(image[:, ::-1])  # the second is not contiguous
    back = mirrored.landmarks[MIRROR] * [-1, 1] + [image.shape[1] - 1, 0]
    assert np.abs(back - face.landmarks).mean() < 1.0


def test_dlib_scale_does_not_move_landmarks(dlib):
    image = decode(orl().photos[12].path).pixels
    (face,), (large,) = dlib.analyse(image), dlib.analyse(np.repeat(np.repeat(image, 12, 0), 12, 1))
    assert np.abs((large.landmarks + 0.5) / 12 - 0.5 - face.landmarks).mean() < 1.0


def test_dlib_finds_nothing_in_a_landscape(dlib):
    assert dlib.analyse(gradient(240, 320)) == []


def test_dlib_finds_five(dlib):
    photos = [decode(orl().photos[i].path).pixels for i in (0, 20, 40, 60, 110)]
    assert len(dlib.analyse(np.hstack(photos))) == 5


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("photo", [0, 100, 216])
def test_faces_of_turned_photos_are_those_of_the_photo(dlib, photo, quarters):
    """Photo 216 upside down shows dlib a face, with landmarks as if it were upright."""
    image = decode(orl().photos[photo].path).pixels
    (face,) = dlib.analyse(image)
    (found,) = analyse_turned(dlib.analyse, np.rot90(image, quarters))
    np.testing.assert_allclose(
        align.warp(image, align.crop_transform(face.landmarks, 32), 32),
        align.warp(np.rot90(image, quarters), align.crop_transform(found.landmarks, 32), 32),
        atol=1,
    )
    left, top, right, bottom = found.box
    x, y = found.landmarks.mean(0)
    assert left < x < right
    assert top < y < bottom


def test_upright_photos_are_searched_once(dlib):
    seen = []
    analyse_turned(lambda image: seen.append(image.shape) or dlib.analyse(image), decode(orl().photos[0].path).pixels)
    assert len(seen) == 1


def test_faces_that_never_stand_upright_are_refused():
    upside = Face((40, 10, 160, 170), 200 - face_points(), 0.9)
    with pytest.raises(FgError, match="the face is upside down or lies on its side, and no turn"):
        analyse_turned(lambda _: [upside], gradient(220, 200))
    unsure = replace(upside, landmarks=face_points(), sure=False)
    answers = iter([[unsure], [], [], []])
    assert analyse_turned(lambda _: next(answers), gradient(220, 200)) == [unsure]
    assert analyse_turned(lambda _: [], gradient(220, 200)) == []


def test_absent_models_say_what_to_install(monkeypatch):
    monkeypatch.setattr("fgcli.faces.dlib_analyser.find_spec", lambda _: None)
    with pytest.raises(FgError, match="face-recognition-models"):
        build(ANALYSERS, {"name": "dlib"}, "preprocess.analyser")
