"""Artifacts: whole or not at all, equal bytes, readable by memory map, wrong files refused in one sentence."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fgcli import artifacts
from fgcli.artifacts import FACES, LATENTS, parts
from fgcli.errors import FgError


def latents(n: int = 5, d: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "codes": rng.normal(size=(n, 1, d)).astype(np.float32),
        "error": np.zeros(n, np.float32),
        "attributes": np.zeros((n, 2), np.int8),
        "split": np.zeros(n, np.uint8),
    }


META = {
    "space": "z",
    "generator": "0" * 64,
    "inverter": {"name": "encoder"},
    "seed": 0,
    "self_test": {},
    "build": {"name": "pca"},
    "attribute_names": ["smiling", "päivä"],
}


def write(path: Path, arrays: dict[str, np.ndarray] | None = None) -> Path:
    artifacts.save(path, LATENTS, arrays or latents(), params={"batch": 4}, inputs={}, meta=META)
    return path


def test_what_was_saved_is_loaded(tmp_path):
    stored = artifacts.load(write(tmp_path / "a.h5"), LATENTS)
    for name, array in latents().items():
        np.testing.assert_array_equal(stored[name], array)
    assert stored.meta == META
    assert stored.params == {"batch": 4}
    assert stored.schema == "latents/2"


def test_equal_content_gives_equal_bytes(tmp_path):
    first, second = write(tmp_path / "a.h5").read_bytes(), write(tmp_path / "sub" / "b.h5").read_bytes()
    assert first == second
    assert str(tmp_path).encode() not in first


def test_inputs_are_named_by_their_content(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"abc")
    artifacts.save(tmp_path / "a.h5", LATENTS, latents(), params={}, inputs={"faces": source}, meta=META)
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert artifacts.load(tmp_path / "a.h5").inputs == {"faces": digest}


def test_rows_are_a_memory_map_of_the_dataset(tmp_path):
    path = write(tmp_path / "a.h5")
    rows = artifacts.rows(path, "codes")
    assert isinstance(rows, np.memmap)
    np.testing.assert_array_equal(rows[[3, 1]], latents()["codes"][[3, 1]])


def test_shapes_are_kept_even_without_axes(tmp_path):
    arrays = {"values/scalar": np.float32(3), "values/turned": np.arange(6).reshape(2, 3).T}
    artifacts.save(
        tmp_path / "e.h5", artifacts.EVALUATION, arrays, params={}, inputs={}, meta={"protocols": {}, "numbers": ""}
    )
    stored = artifacts.load(tmp_path / "e.h5")
    assert stored["values/scalar"].shape == ()
    np.testing.assert_array_equal(stored["values/turned"], arrays["values/turned"])


META_OF_FACES = {"content": "faces", "attribute_names": [], "datasets": [], "analyser": {}, "segmenter": {}}


def rows_of_faces() -> dict[str, Any]:
    """Two faces of 4 x 6 px."""
    return {
        "images": np.zeros((2, 4, 6, 3), np.uint8),
        "masks": np.arange(48, dtype=np.uint8).reshape(2, 4, 6),
        "landmarks": np.zeros((2, 68, 2), np.float32),
        "crop": np.zeros((2, 2, 3), np.float32),
        "attributes": np.zeros((2, 0), np.int8),
        "identity": np.zeros(2, np.int32),
        "split": np.zeros(2, np.uint8),
        "source": ["Zoë/łódź.jpg", "2"],
        "rejected/source": [],
        "rejected/reason": [],
    }


def test_text_keeps_its_letters(tmp_path):
    artifacts.save(tmp_path / "f.h5", FACES, rows_of_faces(), params={}, inputs={}, meta=META_OF_FACES)
    stored = artifacts.load(tmp_path / "f.h5", FACES)
    assert stored["source"].tolist() == ["Zoë/łódź.jpg", "2"]
    assert stored["rejected/source"].tolist() == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"codes": np.zeros((5, 3), np.float32)}, "codes"),
        ({"error": np.zeros(5, np.float64)}, "error"),
        ({"split": np.zeros(4, np.uint8)}, "axis n"),
        ({"more": np.zeros(1)}, "no field 'more'"),
    ],
)
def test_arrays_that_break_the_schema_are_refused_and_leave_nothing(tmp_path, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        write(tmp_path / "a.h5", latents() | change)
    assert list(tmp_path.iterdir()) == []


def test_an_optional_field_may_lack_and_is_checked_where_it_is(tmp_path):
    assert "condition" not in artifacts.load(write(tmp_path / "a.h5")).arrays
    whole = latents() | {"condition": np.ones((5, 4, 4, 3), np.uint8)}
    np.testing.assert_array_equal(artifacts.load(write(tmp_path / "b.h5", whole))["condition"], whole["condition"])
    for wrong, complaint in (
        (whole["condition"][:4], "condition: axis n is 5 elsewhere, got 4"),
        (whole["condition"].astype(np.float32), "condition: expected uint8"),
        (whole["condition"][..., 0], "condition: expected uint8"),
    ):
        with pytest.raises(ValueError, match=complaint):
            write(tmp_path / "c.h5", latents() | {"condition": wrong})
    assert not (tmp_path / "c.h5").exists()


@pytest.mark.parametrize("content", ["faces", "digits", "pictures"])
def test_masks_are_those_of_the_file_or_whole(tmp_path, content):
    arrays = rows_of_faces()
    if content != "faces":
        arrays = {k: v for k, v in arrays.items() if k not in ("masks", "landmarks", "crop")}
    meta = META_OF_FACES | {"content": content}
    artifacts.save(tmp_path / "f.h5", FACES, arrays, params={}, inputs={}, meta=meta)
    masks = artifacts.masks(tmp_path / "f.h5")
    assert masks.dtype == np.uint8
    np.testing.assert_array_equal(masks, arrays.get("masks", np.full((2, 4, 6), 255)))
    with pytest.raises(ValueError, match="read-only"):
        masks[0] = 1


def test_faces_h5_says_what_its_rows_are(tmp_path):
    meta = {k: v for k, v in META_OF_FACES.items() if k != "content"}
    with pytest.raises(ValueError, match="faces/2 lacks content"):
        artifacts.save(tmp_path / "f.h5", FACES, rows_of_faces(), params={}, inputs={}, meta=meta)


def test_a_missing_field_is_refused(tmp_path):
    arrays = latents()
    del arrays["error"]
    with pytest.raises(ValueError, match="lacks error"):
        write(tmp_path / "a.h5", arrays)


def test_a_failure_midway_keeps_the_old_file(tmp_path):
    old = write(tmp_path / "a.h5").read_bytes()

    def fail() -> None:
        with artifacts.create(tmp_path / "a.h5", LATENTS, params={}, inputs={}, meta=META) as writer:
            writer.put("codes", latents()["codes"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "a.h5").read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_wrong_files_are_refused_in_one_sentence(tmp_path):
    whole = write(tmp_path / "a.h5")
    text, cut, foreign = tmp_path / "t.h5", tmp_path / "c.h5", tmp_path / "f.h5"
    text.write_text("not HDF5")
    cut.write_bytes(whole.read_bytes()[:-100])
    with h5py.File(foreign, "w") as file:
        file["x"] = 1
    for path, found in {
        tmp_path / "none.h5": "no such file",
        text: "another kind of file",
        cut: "truncated",
        foreign: "something else",
    }.items():
        with pytest.raises(FgError, match=found) as error:
            artifacts.load(path)
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(FgError, match=r"expected a faces/2 file, found a latents/2 file"):
        artifacts.load(whole, FACES)


HEAD = {"schema": "latents/2", "fg_version": "1", "params": {}, "inputs": {}, "meta": META}


@pytest.mark.parametrize(
    "head",
    [
        b"{", b"\xff", b"[]", b'"x"', b"{}", 5, "text",
        *(json.dumps({k: v for k, v in HEAD.items() if k != key}).encode() for key in HEAD),
        *(json.dumps(HEAD | {key: 3}).encode() for key in HEAD),
    ],
)  # fmt: skip
def test_a_damaged_head_is_told_by_its_file(tmp_path, head):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["head"]
        file["head"] = np.frombuffer(head, np.uint8) if isinstance(head, bytes) else head
    for read in (artifacts.load, lambda p: artifacts.rows(p, "codes")):
        with pytest.raises(FgError) as error:
            read(path)
        told = "a.h5: expected the head of an fg artifact, found a damaged one; run the stage that writes it"
        assert str(error.value) == f"{tmp_path}/{told}"


def test_what_a_file_lacks_is_told(tmp_path):
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        del file["error"], file["head"]
        meta = {k: v for k, v in META.items() if k != "seed"}
        file["head"] = np.frombuffer(json.dumps(HEAD | {"meta": meta}).encode(), np.uint8)
    with pytest.raises(FgError, match=r"a.h5: expected a whole latents/2 file, found no meta seed, error in it; run"):
        artifacts.load(path, LATENTS, ())


def test_damaged_text_is_told(tmp_path):
    artifacts.save(tmp_path / "f.h5", FACES, rows_of_faces(), params={}, inputs={}, meta=META_OF_FACES)
    with h5py.File(tmp_path / "f.h5", "r+") as file:
        file["source"][0] = b"\xff"
    with pytest.raises(FgError, match=r"f.h5: expected readable datasets, found damage .*; run the stage"):
        artifacts.load(tmp_path / "f.h5", FACES)


def test_names_that_are_not_utf_8_are_kept_readable(tmp_path):
    name = os.fsdecode(b"\xff.jpg")
    arrays = rows_of_faces() | {"source": [name, "2"], "attributes": np.zeros((2, 1), np.int8)}
    artifacts.save(
        tmp_path / name, FACES, arrays, params={}, inputs={}, meta=META_OF_FACES | {"attribute_names": [name]}
    )
    stored = artifacts.load(tmp_path / name, FACES)
    assert stored["source"].tolist() == [r"\udcff.jpg", "2"]
    artifacts.write_json(tmp_path / "x.json", {"name": name})
    assert json.loads((tmp_path / "x.json").read_text()) == {"name": name}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY", b"text"])
def test_a_damaged_part_is_told(tmp_path, content):
    (tmp_path / "p.npz").write_bytes(content)
    with pytest.raises(
        FgError, match=r"p.npz: expected a part of an earlier run, found damage; start anew with --no-resume"
    ):
        parts.load_part(tmp_path / "p.npz")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path):
    program = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
        "import numpy as np; from pathlib import Path; from fgcli import artifacts; from fgcli.errors import FgError\n"
        "n = 9000\n"
        "try:\n"
        f"    artifacts.save(Path({str(tmp_path / 'a.h5')!r}), artifacts.LATENTS, dict(codes=np.ones((n, 1, 8), 'f4'),"
        " error=np.ones(n, 'f4'), attributes=np.ones((n, 1), 'i1'), split=np.ones(n, 'u1')), params={}, inputs={},"
        " meta=dict(space='z', generator='', attribute_names=['a']))\n"
        "except FgError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "a.h5: expected to write a file of its size, found the file-size limit" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert resource.RLIMIT_FSIZE  # the limit above holds for the child alone


def test_no_space_left_is_told(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FgError, match="expected room on the disk"):
        write(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FgError, match="expected 1000000000000 MB of free disk"):
        artifacts.verify_free_space(tmp_path / "a.h5", 10**18)


def test_an_output_that_cannot_be_written_is_told(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("")
    with pytest.raises(FgError, match="expected a folder that can be written"):
        write(blocker / "a.h5")


def test_work_of_other_code_has_another_name(tmp_path, monkeypatch):
    """Else a run would go on with the results of code that is gone."""
    package = tmp_path / "fgcli"
    for name in ("__init__.py", "objectives/rae.py", "cli/run.py"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("1")
    monkeypatch.setattr(parts.fgcli, "__file__", str(package / "__init__.py"))
    names = []
    for change in (None, "cli/run.py", "objectives/rae.py"):
        if change:
            (package / change).write_text("2")
        parts.code.cache_clear()
        names.append(parts.fingerprint({"steps": 1}))
    assert names[0] == names[1] != names[2]
    assert parts.fingerprint({"steps": 2}) != parts.fingerprint({"steps": 1})
    parts.code.cache_clear()  # of the code in tmp_path
