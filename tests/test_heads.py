"""Rendered heads, the network trained on them, heads fitted to faces, and their commands: end to end, small."""

import copy
import json
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import HEAD, heads_params, regressor_params, write_faces
from PIL import Image
from torch.nn import functional
from typer.testing import CliRunner

from fgcli import artifacts, config
from fgcli.artifacts import parts
from fgcli.cli import app, follow
from fgcli.datasets import procedural_heads
from fgcli.errors import FgError, Interrupted
from fgcli.faces.head_segmenter import HeadSegmenter
from fgcli.faces.view import View
from fgcli.fitting import extraction
from fgcli.fitting.extraction import drawing
from fgcli.foreign import mesh_files
from fgcli.heads.camera import project, to_pixels
from fgcli.heads.centring import EYES
from fgcli.heads.face_mask import face_mask
from fgcli.heads.parameters import SIZES, Parameters, load_npz
from fgcli.procedural import attributes
from fgcli.reports import heads as sections
from fgcli.reports.heads import section as heads_section
from fgcli.stages import flame, heads
from fgcli.stages import regressor as training

N, SIZE = 24, 32
DETAIL = ["--set", "heads.head.detail=0.5", "--set", "heads.head.texture_size=64"]
run = CliRunner().invoke


def flame_params(**changes):
    """The default params of `fg flame`, made small, then changed."""
    small = {"head": HEAD, "photometric_steps": 12}
    values = config.overlay(config.defaults()["flame"], small)
    return config.section({"flame": config.overlay(values, changes)}, "flame", flame.Params)


@pytest.fixture(scope="module")
def fitted(rendered, tmp_path_factory):
    """flame.h5 of the rendered heads, by landmarks and pixels from the mean head."""
    folder = tmp_path_factory.mktemp("fitted")
    paths = {"output": folder / "flame.h5", "sheet": folder / "flame.png"}
    summary = flame.run(rendered["faces"], folder / "none.h5", **paths, params=flame_params())
    return paths | {"summary": summary}


def truth(rendered) -> Parameters:
    return Parameters.from_arrays(artifacts.load(rendered["flame"]).arrays)


def interrupt(monkeypatch, module, name, after):
    """Ctrl-C in place of call `after` of a function; returns the calls that were made."""
    real, calls = getattr(module, name), []

    def counted(*arguments, **named):
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(arguments)
        return real(*arguments, **named)

    monkeypatch.setattr(module, name, counted)
    return calls


# ---- rendered heads


def test_rendered_heads_fit_their_schemas_and_name_each_other(rendered):
    faces, known = (
        artifacts.load(rendered["faces"], artifacts.FACES),
        artifacts.load(rendered["flame"], artifacts.FLAME),
    )
    assert faces["images"].shape == (N, SIZE, SIZE, 3)
    assert known.inputs == {"faces": artifacts.sha256(rendered["faces"])}
    assert set(known["status"]) == {"ok"}
    assert not known["residuals"].any()
    np.testing.assert_array_equal(known["split"], faces["split"])
    np.testing.assert_array_equal(known["landmarks2d"], faces["landmarks"])
    assert set(np.unique(faces["masks"])) == {0, 255}
    assert faces.meta["content"] == "faces"
    assert faces.meta["analyser"]["name"] == faces.meta["segmenter"]["name"] == "exact"
    assert len(set(faces["source"])) == N
    assert Image.open(rendered["sheet"]).size[0] > 1000


def test_the_report_shows_rendered_heads(rendered):
    images, masks = (artifacts.rows(rendered["faces"], name) for name in ("images", "masks"))
    known = artifacts.load(rendered["flame"], artifacts.FLAME)
    shown = heads_section(known, images, masks, known["landmarks2d"], {0: "one", 2: "two"})
    assert (shown.method, shown.rows, shown.failed) == ("exact, refined by none, head procedural", N, [])
    assert [row.label for row in shown.people] == ["one", "two"]


def test_parameters_give_the_pictures_back(head, rendered):
    faces, p = artifacts.load(rendered["faces"]), truth(rendered)
    drawn = drawing(head, p, 2 * SIZE)
    image, cover = (functional.avg_pool2d(x, 2) for x in (drawn.image.clamp(0, 1) * drawn.mask, drawn.mask))
    off = np.abs(255 * image.movedim(1, 3).numpy() - faces["images"].astype(np.float32))
    bare = faces["attributes"][:, faces.meta["attribute_names"].index("eyeglasses")] == 0
    inside = cover[:, 0].numpy() == 1
    assert inside.mean() > 0.4
    assert bare.sum() > N / 2
    assert off[bare][inside[bare]].max() <= 0.51
    assert np.median(off[~bare][inside[~bare]]) <= 0.51  # glasses cover little
    assert off[cover[:, 0].numpy() == 0].mean() > 40  # something stands behind
    own = functional.avg_pool2d(face_mask(head, drawn), 2)[:, 0].numpy() >= 0.5
    np.testing.assert_array_equal(faces["masks"] > 0, own)
    vertices = head.vertices(p.shape, p.expression, p.pose)
    marks = to_pixels(project(head.landmarks(vertices, p.pose), p.camera), SIZE)
    np.testing.assert_allclose(faces["landmarks"], marks, atol=1e-3)


def test_heads_sit_as_faces_in_aligned_crops(rendered):
    marks = artifacts.load(rendered["faces"])["landmarks"]
    eyes = np.stack([marks[:, 42:48].mean(1), marks[:, 36:42].mean(1)], 1)
    goal = (EYES.numpy() / 0.8 + 1) * SIZE / 2 - 0.5
    assert np.abs(eyes.mean(0) - goal).max() < 0.05 * SIZE
    assert np.abs(eyes - goal).max() < 0.2 * SIZE


def test_people_keep_their_faces_and_split(rendered):
    faces, p = artifacts.load(rendered["faces"]), truth(rendered)
    assert faces["identity"].tolist() == [i // 2 for i in range(N)]
    for name in ("shape", "texture"):
        assert torch.equal(getattr(p, name)[::2], getattr(p, name)[1::2])
        assert len(getattr(p, name).unique(dim=0)) == N // 2
    assert len(p.pose.unique(dim=0)) == len(p.light.flatten(1).unique(dim=0)) == N
    np.testing.assert_array_equal(faces["split"][::2], faces["split"][1::2])
    assert set(faces["split"]) == {0, 1, 2}


def test_attributes_say_what_parameters_do(head, rendered):
    faces, p = artifacts.load(rendered["faces"]), truth(rendered)
    columns = dict(zip(faces.meta["attribute_names"], faces["attributes"].T, strict=True))
    np.testing.assert_array_equal(faces["attributes"][:, :-1], attributes.attributes(head, p))
    glasses = columns["eyeglasses"]
    np.testing.assert_array_equal(glasses[::2], glasses[1::2])  # worn in all pictures
    assert set(glasses) == {0, 1}
    many = Parameters.zeros(41)
    many.expression[:, head.expression_names.index("smile")] = torch.linspace(-2, 2, 41)
    smiling = attributes.attributes(head, many)[:, 0]
    changes = np.flatnonzero(np.diff(smiling))
    assert smiling[[0, *(changes + 1)]].tolist() == [0, -1, 1]  # no, unclear, yes
    degrees = attributes.degrees(head, many)[:, 0]
    np.testing.assert_allclose(np.interp([0.3, 0.6, 0.9], np.linspace(-2, 2, 41), degrees), [0, 0.5, 1], atol=1e-6)


def test_what_a_head_has_no_mode_for_is_not_known(head):
    nameless = copy.copy(head)
    nameless.expression_names = nameless.texture_names = []
    known = attributes.attributes(nameless, Parameters.zeros(2))
    assert known.tolist() == [[-1, 0, -1, -1, -1, 0]] * 2


def open_by(marks: torch.Tensor) -> torch.Tensor:
    return (marks[:, [61, 62, 63]] - marks[:, [67, 66, 65]]).norm(dim=2).mean(1)


def test_attributes_are_seen_in_landmarks_and_skin(head):
    p = Parameters.zeros(7)
    p.texture[:, head.texture_names.index("melanin")] = -1
    p.expression[1, head.expression_names.index("smile")] = 2
    p.pose[2, 3] = 0.25
    p.expression[3, head.expression_names.index("blink")] = 2
    p.texture[4, head.texture_names.index("melanin")] = 2
    p.texture[5, head.texture_names.index("beard")] = 3
    p.pose[6, 1] = -0.4
    told = attributes.attributes(head, p)
    assert told.tolist() == [[int(row == i + 1) for i in range(6)] for row in range(7)]
    vertices = head.vertices(p.shape, p.expression, p.pose)
    marks, albedo = head.landmarks(vertices, p.pose)[..., :2], head.albedo(p.texture)
    assert (marks[1, 54, 0] - marks[1, 48, 0]) > 1.05 * (marks[0, 54, 0] - marks[0, 48, 0])
    assert open_by(marks)[2] > open_by(marks)[0] + 0.005
    lids = (marks[:, [37, 38, 43, 44]] - marks[:, [41, 40, 47, 46]]).norm(dim=2).mean(1)
    assert lids[3] < 0.5 * lids[0]
    assert albedo[4].mean() < 0.9 * albedo[0].mean()
    assert (albedo[5] < albedo[0] - 0.05).float().mean() > 0.02
    nose = marks[:, 30, 0] - (marks[:, 36, 0] + marks[:, 45, 0]) / 2
    assert nose[6] < nose[0] - 0.01  # to image left


def make(folder, **changes):
    """Both files of a run of fg heads as bytes."""
    resume = changes.pop("resume", True)
    paths = {"output": folder / "faces.h5", "flame": folder / "flame.h5", "sheet": folder / "faces.png"}
    heads.run(**paths, params=heads_params(**changes), resume=resume)
    return [path.read_bytes() for path in paths.values()]


def test_bytes_depend_on_the_seed_only(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(procedural_heads, "ROWS", 8)
    want = [rendered[name].read_bytes() for name in ("faces", "flame", "sheet")]
    assert make(tmp_path / "two", processes=2) == want
    assert not parts.work_folder(tmp_path / "two" / "faces.h5").exists()
    make(tmp_path / "other", seed=1, n=8)
    make(tmp_path / "fewer", n=8)
    first = artifacts.load(tmp_path / "fewer" / "faces.h5")["images"]
    np.testing.assert_array_equal(first, artifacts.rows(rendered["faces"], "images")[:8])  # more only adds
    assert not (artifacts.load(tmp_path / "other" / "faces.h5")["images"] == first).all((1, 2, 3)).any()


def test_an_interrupted_run_goes_on_to_the_same_bytes(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(procedural_heads, "ROWS", 8)
    with monkeypatch.context() as patch:
        interrupt(patch, procedural_heads, "render", 2)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path)
    assert not (tmp_path / "faces.h5").exists()
    calls = interrupt(monkeypatch, procedural_heads, "render", 9)
    assert make(tmp_path) == [rendered[name].read_bytes() for name in ("faces", "flame", "sheet")]
    assert [chunk.first for _, chunk in calls] == [16]


def test_without_resume_all_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(procedural_heads, "ROWS", 2)
    with monkeypatch.context() as patch:
        interrupt(patch, procedural_heads, "render", 1)
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path, n=4)
    calls = interrupt(monkeypatch, procedural_heads, "render", 9)
    make(tmp_path, n=4, resume=False)
    assert len(calls) == 2


def test_photos_of_a_folder_stand_behind(tmp_path):
    Image.new("RGB", (50, 40), (255, 0, 0)).save(tmp_path / "red.png")
    make(tmp_path, n=8, backgrounds=str(tmp_path))
    corners = artifacts.rows(tmp_path / "faces.h5", "images")[:, 0, 0].tolist()
    assert 1 <= corners.count([255, 0, 0]) < 8  # clouds stand behind the others
    with pytest.raises(FgError, match=r"expected a folder of photos for heads.backgrounds, found none; check the path"):
        make(tmp_path / "no", backgrounds=str(tmp_path / "nothing"))
    (tmp_path / "link.jpg").symlink_to("gone.jpg")
    with pytest.raises(FgError, match=r"link.jpg: expected a photo for heads.backgrounds, found none that can be read"):
        make(tmp_path / "no", backgrounds=str(tmp_path))


# ---- masks from a fitted head


@pytest.fixture(scope="module")
def segmenter():
    return HeadSegmenter()


@pytest.mark.parametrize(("colour", "bar"), [(False, 0.95), (True, 0.88)])
def test_the_head_segmenter_finds_the_masks_of_renders(rendered, segmenter, monkeypatch, colour, bar):
    monkeypatch.setattr(segmenter, "colour", colour)
    faces, overlaps = artifacts.load(rendered["faces"]), []
    for i in range(0, N, 4):
        view = View(faces["images"][i], faces["landmarks"][i], np.eye(2, 3), SIZE)
        found, true = segmenter.segment(view) > 0, faces["masks"][i] > 0
        overlaps.append((found & true).sum() / (found | true).sum())
    assert np.mean(overlaps) > bar
    assert min(overlaps) > bar - 0.03


def test_the_head_segmenter_says_when_no_head_fits(segmenter):
    view = View(np.zeros((32, 32, 3), np.uint8), np.full((68, 2), 7.5), np.eye(2, 3), 32)
    with pytest.raises(FgError, match="no head fits the landmarks of this face"):
        segmenter.segment(view)


# ---- the regressor


def test_a_regressor_learns_and_two_runs_are_equal(rendered, regressor, tmp_path):
    again = {"output": tmp_path / "regressor.h5", "folder": tmp_path / "run"}
    summary = training.run(rendered["faces"], rendered["flame"], **again, params=regressor_params())
    assert again["output"].read_bytes() == regressor.read_bytes()
    assert summary["rows"] == int((artifacts.load(rendered["faces"])["split"] == 0).sum())
    stored = artifacts.load(regressor, artifacts.REGRESSOR)
    assert stored.meta["training"]["framing"] == 0.8
    assert stored.meta["head"]["build"] == HEAD
    assert stored.inputs == {name: artifacts.sha256(rendered[name]) for name in ("faces", "flame")}
    losses = stored.group("history")["validation"]
    assert losses[-1] < losses[0]
    assert list((tmp_path / "run" / "samples").glob("*.png"))


def test_a_regressor_wants_parameters_of_its_own_pictures(rendered, tmp_path):
    make(tmp_path, n=4, seed=5)
    files = {"output": tmp_path / "r.h5", "folder": tmp_path / "run"}
    with pytest.raises(
        FgError, match=r"flame.h5: expected a file made from .*faces.h5, found one of other faces; make"
    ):
        training.run(rendered["faces"], tmp_path / "flame.h5", **files, params=regressor_params())


def test_a_regressor_wants_rows_that_train(tmp_path):
    make(tmp_path, n=4, val=0.99)
    files = {"output": tmp_path / "r.h5", "folder": tmp_path / "run"}
    with pytest.raises(FgError, match=r"flame.h5: expected rows of the train split, found none; lower heads.val"):
        training.run(tmp_path / "faces.h5", tmp_path / "flame.h5", **files, params=regressor_params())


# ---- fitted heads


def test_fitted_heads_are_near_the_truth(head, rendered, fitted):
    found, known = artifacts.load(fitted["output"], artifacts.FLAME), artifacts.load(rendered["flame"])
    assert (found["status"] == "ok").all()
    assert found.meta["method"] == {"name": "fit", "refine": "photometric"}
    assert found.meta["head"] == known.meta["head"]
    assert found.inputs == known.inputs
    assert fitted["summary"]["failed"] == 0
    assert np.median(found["residuals"]) < 0.015
    assert np.median(found["colour_error"]) < 0.04
    np.testing.assert_array_equal(found["split"], known["split"])
    p, true = Parameters.from_arrays(found.arrays), truth(rendered)
    marks = head.landmarks(head.vertices(p.shape, p.expression, p.pose), p.pose)
    np.testing.assert_allclose(found["landmarks2d"], to_pixels(project(marks, p.camera), SIZE), atol=1e-2)
    assert (p.pose[:, :3] - true.pose[:, :3]).norm(dim=1).median() < 0.05
    smile, beard = head.expression_names.index("smile"), head.texture_names.index("beard")
    for name, mode in (("expression", smile), ("texture", beard)):
        pair = torch.stack([getattr(q, name)[:, mode] for q in (p, true)])
        assert torch.corrcoef(pair)[0, 1] > 0.7, name
    assert Image.open(fitted["sheet"]).size[0] > 5 * flame.TILE_PX


def test_an_interrupted_fit_goes_on_to_the_same_bytes(rendered, tmp_path, monkeypatch):
    monkeypatch.setattr(flame, "ROWS", 8)
    params = flame_params(refine="landmarks")

    def fit(folder):
        paths = {"output": folder / "flame.h5", "sheet": folder / "flame.png"}
        flame.run(rendered["faces"], folder / "none.h5", **paths, params=params)
        return [path.read_bytes() for path in paths.values()]

    whole = fit(tmp_path / "whole")
    with monkeypatch.context() as patch:
        interrupt(patch, extraction.Extraction, "fit", 2)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "torn")
    calls = interrupt(monkeypatch, extraction.Extraction, "fit", 9)
    assert fit(tmp_path / "torn") == whole
    assert len(calls) == 1
    assert not parts.work_folder(tmp_path / "torn" / "flame.h5").exists()


def test_the_best_method_that_is_here_is_taken(rendered, regressor, tmp_path, capsys):
    paths = {"output": tmp_path / "flame.h5", "sheet": tmp_path / "flame.png"}
    summary = flame.run(rendered["faces"], regressor, **paths, params=flame_params(refine="landmarks"))
    assert (summary["method"], summary["refine"]) == ("regress", "landmarks")
    assert "first guess by regress" in capsys.readouterr().err
    stored = artifacts.load(paths["output"])
    assert stored.inputs["regressor"] == artifacts.sha256(regressor)
    assert (stored["status"] == "ok").all()
    summary = flame.run(
        rendered["faces"], regressor, **paths, params=flame_params(method="fit", refine="none", max_failed=1)
    )
    assert (summary["method"], summary["refine"]) == ("fit", "none")
    assert not artifacts.load(paths["output"])["shape"].any()  # the mean head, placed


def worse(faces, path, rows):
    """A copy of faces.h5 in which some rows have no landmarks."""
    stored = artifacts.load(faces)
    arrays = dict(stored.arrays)
    arrays["landmarks"] = arrays["landmarks"].copy()
    arrays["landmarks"][rows] = np.nan
    artifacts.save(path, artifacts.FACES, arrays, params=stored.params, inputs={}, meta=stored.meta)
    return path


def test_pictures_taken_whole_are_refused(rendered, tmp_path):
    stored = artifacts.load(rendered["faces"])
    arrays = {k: v for k, v in stored.arrays.items() if k not in ("masks", "landmarks", "crop")}
    meta = stored.meta | {"content": "digits", "analyser": None, "segmenter": None}
    artifacts.save(tmp_path / "faces.h5", artifacts.FACES, arrays, params={}, inputs={}, meta=meta)
    paths = {"output": tmp_path / "flame.h5", "sheet": tmp_path / "flame.png"}
    with pytest.raises(FgError, match=r"faces.h5: expected faces with landmarks, found pictures taken whole; preproc"):
        flame.run(tmp_path / "faces.h5", tmp_path / "none.h5", **paths, params=flame_params())
    with pytest.raises(FgError, match=r"found pictures taken whole"):
        flame.plan(tmp_path / "faces.h5", tmp_path / "none.h5", params=flame_params())
    assert [p.name for p in tmp_path.iterdir()] == ["faces.h5"]


def test_rows_that_fail_are_kept_and_named(rendered, tmp_path, capsys):
    faces = worse(rendered["faces"], tmp_path / "faces.h5", [3, 7])
    paths = {"output": tmp_path / "flame.h5", "sheet": tmp_path / "flame.png"}
    summary = flame.run(faces, tmp_path / "none.h5", **paths, params=flame_params(refine="landmarks"))
    assert (summary["rows"], summary["failed"]) == (N, 2)
    told = artifacts.load(paths["output"])["status"]
    assert np.flatnonzero(told != "ok").tolist() == [3, 7]
    assert "flame: procedural_heads/000003: no landmarks to fit to" in capsys.readouterr().err


def test_too_many_failures_fail_the_stage(rendered, tmp_path):
    faces = worse(rendered["faces"], tmp_path / "faces.h5", slice(0, 6))
    paths = {"output": tmp_path / "flame.h5", "sheet": tmp_path / "flame.png"}
    with pytest.raises(
        FgError, match=r"expected at most 10% of 24 fits to fail, found 6 \(see flame.max_failed\): 6 x no landmarks"
    ) as error:
        flame.run(faces, tmp_path / "none.h5", **paths, params=flame_params(refine="landmarks", max_failed=0.1))
    assert "\n" not in str(error.value)
    assert not paths["output"].exists()


def test_photos_of_one_person_share_a_shape_and_all_else_is_refitted(rendered, fitted, tmp_path):
    paths = {"output": tmp_path / "flame.h5", "sheet": tmp_path / "flame.png"}
    flame.run(rendered["faces"], tmp_path / "none.h5", **paths, params=flame_params(share_shape="identity"))
    found, apart = artifacts.load(paths["output"]), artifacts.load(fitted["output"])
    people = artifacts.load(rendered["faces"])["identity"]
    assert (found["shape"][::2] == found["shape"][1::2]).all()
    assert len(np.unique(found["shape"], axis=0)) == len(np.unique(people))
    np.testing.assert_allclose(found["shape"][:2].mean(0), apart["shape"][:2].mean(0), atol=1e-5)
    assert (found["status"] == "ok").all()
    assert np.median(found["residuals"]) < 1.5 * np.median(apart["residuals"])
    assert not np.array_equal(found["pose"], apart["pose"])
    off = [np.abs(p["shape"] - truth(rendered).shape.numpy())[:, :10].mean() for p in (found, apart)]
    assert off[0] < off[1]  # two photos say more than one


def test_frames_change_smoothly_in_the_order_of_their_numbers(rendered, tmp_path):
    stored = artifacts.load(rendered["faces"])
    order = np.random.default_rng(0).permutation(N)
    names = {"source": np.array([f"clip/f{i}.png" for i in order])}
    names |= {"rejected/source": np.array([f"clip/f{N}.png"]), "rejected/reason": np.array(["no face found"])}
    people = {"identity": np.zeros(N, np.int32)}
    meta = stored.meta | {"identity_names": ["anna"]}
    path = tmp_path / "faces.h5"
    artifacts.save(path, artifacts.FACES, stored.arrays | names | people, params=stored.params, inputs={}, meta=meta)
    runs = []
    for smooth in (False, True):
        paths = {"output": tmp_path / f"{smooth}.h5", "sheet": tmp_path / "flame.png"}
        flame.run(
            path, tmp_path / "none.h5", **paths, params=flame_params(smooth=smooth, refine="landmarks", max_failed=1)
        )
        runs.append(artifacts.load(paths["output"], artifacts.FLAME))
    rough, even = ({k: p[k][np.argsort(order)] for k in ("pose", "expression", "residuals")} for p in runs)
    for name in ("pose", "expression"):
        assert np.abs(np.diff(even[name], axis=0)).mean() < 0.6 * np.abs(np.diff(rough[name], axis=0)).mean()
    assert (even["residuals"] > rough["residuals"]).mean() > 0.8  # the file tells of what it holds
    weights = np.exp(-(np.arange(N) ** 2) / 2)
    np.testing.assert_allclose(even["expression"][0], weights @ rough["expression"] / weights.sum(), atol=1e-4)


def test_a_shape_is_shared_by_people_who_are_known(rendered, tmp_path):
    stored = artifacts.load(rendered["faces"])
    nobody = stored.arrays | {"identity": np.full(N, -1, np.int32)}
    artifacts.save(tmp_path / "faces.h5", artifacts.FACES, nobody, params=stored.params, inputs={}, meta=stored.meta)
    paths = {"output": tmp_path / "flame.h5", "sheet": tmp_path / "flame.png"}
    with pytest.raises(FgError, match=r"faces.h5: expected rows whose person is known for flame.share_shape"):
        flame.run(tmp_path / "faces.h5", tmp_path / "none.h5", **paths, params=flame_params(share_shape="identity"))
    assert [p.name for p in tmp_path.iterdir()] == ["faces.h5"]


def test_a_video_or_a_folder_becomes_faces_and_heads_in_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = {}

    def cut(faces, sheet, params):
        write_faces(faces, 4)
        ran["faces"] = params

    def raising(error):
        return lambda *a, params: (_ for _ in ()).throw(error)

    monkeypatch.setattr(follow.preprocess, "run", cut)
    monkeypatch.setattr(follow.flame, "run", lambda *a, params: ran.update(paths=a, heads=params) or {"rows": 2})
    for name in ("anna/1.png", "anna/2.png", "ben/1.png"):
        (tmp_path / "album" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "album" / name)
    call("flame", "--smooth", "album", "--share-shape", "identity", "-o", "one", "--window", 2)  # flags in any order
    assert (ran["heads"].share_shape, ran["heads"].smooth, ran["heads"].window) == ("identity", True, 2)
    [data] = ran["faces"].datasets
    assert (data["path"], ran["faces"].val, ran["faces"].test) == ("album", 0, 0)
    table = (tmp_path / "one" / "people.csv").read_text().split()
    assert table == ["file,identity", "anna/1.png,anna", "anna/2.png,anna", "ben/1.png,ben"]
    assert [str(path) for path in ran["paths"]] == [
        "one/faces.h5", "out/regressor.h5", "one/flame.h5", "one/flame.png"
    ]  # fmt: skip
    done = call("flame", "album", "-o", "one", code=2)
    assert "one: expected an empty folder or none, found one with files in it; name another" in done.stderr
    done = call("flame", "none.mp4", code=1)
    assert "none.mp4: expected a video or a folder of its frames, found no such file" in done.stderr
    call("flame", "album", "-o", "two", "--share-shape", "person", code=2)
    call("flame", "albun", code=2)
    fitting = follow.flame.run
    monkeypatch.setattr(follow.flame, "run", raising(Interrupted(2)))
    call("flame", "album", "-o", "three", code=130)
    done = call("flame", "album", "-o", "three", "--smooth", code=2)
    assert "three: expected an empty folder or none, found what another command left unfinished" in done.stderr
    monkeypatch.setattr(follow.flame, "run", fitting)
    monkeypatch.setattr(follow.preprocess, "run", raising(FgError("no faces")))
    call("flame", "album", "-o", "three")  # which goes on after faces.h5
    assert sorted(path.name for path in (tmp_path / "three").iterdir()) == ["faces.h5", "people.csv"]
    call("flame", "album", "-o", "two", code=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["album", "one", "three"]


# ---- the report's section


def test_the_reports_section_shows_people_and_counts_failures(rendered, fitted):
    faces, found = artifacts.load(rendered["faces"]), artifacts.load(fitted["output"])
    found.arrays["status"] = found["status"].astype("U60")
    found.arrays["status"][5] = "landmarks off by 40% of the outer eye distance"
    arguments = (faces["images"], faces["masks"], faces["landmarks"], {2: "two", 5: "five"})
    one, two = (sections.section(found, *arguments) for _ in range(2))
    assert one == two
    assert [row.label for row in one.people] == ["two", "five"]
    assert all(len(row.pictures) == len(one.titles) == 7 for row in one.people)
    assert one.failed == [("landmarks off by 40% of the outer eye distance", 1)]
    assert one.rows == N
    assert one.method == "fit, refined by photometric, head procedural"
    assert "<svg" in one.histogram


def test_tiles_show_photo_and_landmarks(head, rendered):
    faces, known = artifacts.load(rendered["faces"]), artifacts.load(rendered["flame"])
    [tiles] = sections.tiles(head, faces["images"], faces["landmarks"], known.arrays, [4], 64)
    assert [t.shape for t in tiles] == [(64, 64, 3)] * len(sections.TITLES)
    np.testing.assert_array_equal(tiles[0], sections.enlarged(faces["images"][4], 64))
    assert (tiles[2] == sections.FITTED).all(2).any()  # drawn last: true landmarks hide those found
    same = np.abs(tiles[4].astype(int) - tiles[0])[20:44, 20:44]
    assert np.median(same) < 25


# ---- commands


@pytest.fixture(scope="module")
def flags(rendered, fitted):
    return ["--flame", str(fitted["output"]), "--faces", str(rendered["faces"])]


def call(*arguments, code=0):
    done = run(app, [*map(str, arguments)])
    assert done.exit_code == code, (done.output, done.exception)
    return done


def test_the_three_stages_run_as_commands(rendered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    making = ["data", "make", "procedural_heads", "--n", N, "--size", SIZE, "--seed", 0, "--processes", 1]
    done = call(*making, "--val", 0.2, "--test", 0.2, *DETAIL, "--json")
    summary = json.loads(done.stdout)
    assert (summary["rows"], summary["people"]) == (N, N // 2)
    faces, known = tmp_path / "out" / "heads" / "faces.h5", tmp_path / "out" / "heads" / "flame.h5"
    assert faces.read_bytes() == rendered["faces"].read_bytes()
    assert known.read_bytes() == rendered["flame"].read_bytes()
    small = ["--width", 4, "--steps", 2, "--batch", 4, "--validate-steps", 1, "--threads", 1, "--device", "cpu"]
    call("regressor", "--faces", faces, "--flame", known, *small)
    assert artifacts.load(tmp_path / "out" / "regressor.h5", artifacts.REGRESSOR).meta["training"]["rows"]
    finer = [text.replace("heads.head", "flame.head") for text in DETAIL]
    done = call("flame", "--faces", faces, *finer, "--refine", "landmarks", "--json")
    assert json.loads(done.stdout)["method"] == "regress"
    done = call("inspect", tmp_path / "out" / "flame.h5")
    assert "flame/1" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--method", "deka"], 2, r"flame.method.*: expected one of .*deca, regress, fit, found 'deka'"),
        (["--method", "deca"], 1, r"flame.method: expected the head flame for deca, found procedural; set"),
        (["--method", "regress"], 1, r"none.h5: expected an fg artifact, found no such file; run the stage"),
        (["--refine", "pixels"], 2, r"flame.refine: .*found 'pixels'"),
        (["--faces", "no.h5"], 1, r"no.h5: expected an fg artifact, found no such file; run the stage"),
    ],
)
def test_fits_that_cannot_be_made_are_refused_in_one_sentence(
    rendered, tmp_path, monkeypatch, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    given = ["--faces", rendered["faces"], "--regressor", "none.h5", "--set", "flame.head.detail=0.5", *arguments]
    done = call("flame", *given, code=code)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, lines
    assert re.search(message, lines[0]), lines
    assert not list(tmp_path.iterdir())


def test_help_names_the_verbs():
    for arguments, words in (
        (["data", "make", "--help"], ["procedural_heads"]),
        (["data", "make", "procedural_heads", "--help"], ["--n", "--per-person", "--no-resume"]),
        (["flame", "--help"], ["render", "export", "--method", "--json"]),
        (["flame", "render", "--help"], ["--frames", "--skin", "--json", "--debug"]),
        (["flame", "fits", "--help"], ["--size", "--faces", "--json", "--debug"]),
        (["flame", "export", "--help"], ["--neutral", "--order"]),
    ):
        told = re.sub(r"\x1b\[[0-9;]*m", "", call(*arguments).stdout)
        assert all(word in told for word in words), arguments


@pytest.mark.parametrize(
    ("skin", "rows", "frames"),
    [("photo", ["3"], 3), ("model", ["3", "8"], 4), ("clay", ["3"], 2), ("normals", ["3", "4"], 2)],
)
def test_render_writes_a_strip(flags, tmp_path, skin, rows, frames):
    output = tmp_path / "strip.png"
    arguments = ["flame", "render", *rows, "-o", output, "--frames", frames, "--size", 40, "--skin", skin, *flags]
    call(*arguments)
    picture = np.asarray(Image.open(output).convert("RGB"))
    assert picture.shape[1] >= 40 * frames
    assert picture.shape[0] < 80
    grey = np.ptp(picture.astype(int), axis=2)
    assert (grey.max() <= 2) == (skin == "clay")
    if skin == "photo":
        first = output.read_bytes()
        call(*arguments)
        assert output.read_bytes() == first


def test_fits_are_five_pictures_a_face_and_of_these_photos_only(flags, rendered, tmp_path):
    output = tmp_path / "fits.png"
    call("flame", "fits", 3, 5, "-o", output, "--size", 40, *flags)
    sheet = np.asarray(Image.open(output).convert("RGB"))
    assert sheet.shape[1] >= 5 * 40
    assert sheet.shape[0] >= 2 * 40
    other = tmp_path / "other.h5"
    other.write_bytes(rendered["faces"].read_bytes() + b"0")
    done = call("flame", "fits", 3, "-o", tmp_path / "x.png", *flags, "--faces", other, code=1)
    assert "give the right --faces" in done.stderr
    assert "--skin" not in done.stderr
    assert not (tmp_path / "x.png").exists()


def test_walking_from_a_head_to_itself_stands_still(flags, tmp_path):
    call("flame", "render", 3, 3, "-o", tmp_path / "s.png", "--frames", 3, "--size", 40, "--skin", "model", *flags)
    strip = np.asarray(Image.open(tmp_path / "s.png").convert("RGB")).astype(int)
    step = (strip.shape[1] - 40) // 2
    tiles = [strip[:, i * step : i * step + 40] for i in range(3)]
    assert tiles[0].std() > 20
    assert np.abs(tiles[0] - tiles[1]).max() <= 1
    assert np.abs(tiles[1] - tiles[2]).max() <= 1


def test_parameters_go_to_npz_and_back(fitted, flags, tmp_path):
    stored = Parameters.from_arrays(artifacts.load(fitted["output"]).arrays).rows([3, 8])
    for order in ([], ["--order", "deca"], ["--order", "gif"]):
        call("flame", "export", 3, 8, "-o", tmp_path / "two.npz", *order, *flags)
        kept = load_npz(tmp_path / "two.npz")
        assert all(torch.equal(getattr(kept, name), getattr(stored, name)) for name in SIZES)
        with np.load(tmp_path / "two.npz") as file:
            assert set(file.files) == ({"vector", "order"} if order else set(SIZES)) | {"head"}
    call("flame", "export", "-o", tmp_path / "all.npz", *flags)
    assert len(load_npz(tmp_path / "all.npz")) == N
    call("flame", "export", tmp_path / "two.npz", "-o", tmp_path / "again.npz", *flags)
    assert torch.equal(load_npz(tmp_path / "again.npz").to_vector("gif"), stored.to_vector("gif"))
    pictures = []
    for i, what in enumerate((["3", "8"], [tmp_path / "two.npz"])):
        output = tmp_path / f"{i}.png"
        call("flame", "render", *what, "-o", output, "--frames", 2, "--size", 32, "--skin", "model", *flags)
        pictures.append(output.read_bytes())
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("neutral", [False, True])
def test_a_mesh_goes_to_obj_and_back(head, fitted, flags, tmp_path, neutral):
    output = tmp_path / "anna.obj"
    call("flame", "export", 3, "-o", output, *(["--neutral"] if neutral else []), *flags)
    mesh = mesh_files.read_obj(output)
    p = Parameters.from_arrays(artifacts.load(fitted["output"]).arrays).rows([3])
    if neutral:
        p = p.replace(expression=0 * p.expression, pose=0 * p.pose)
    np.testing.assert_allclose(mesh.vertices, head.vertices(p.shape, p.expression, p.pose)[0], atol=1e-6)
    np.testing.assert_array_equal(mesh.faces, head.faces)
    np.testing.assert_allclose(mesh.uv, head.uv, atol=1e-6)
    np.testing.assert_array_equal(mesh.uv_faces, head.uv_faces)
    assert "map_Kd anna.png" in (tmp_path / "anna.mtl").read_text()
    texture = np.asarray(Image.open(tmp_path / "anna.png"))
    assert texture.shape == (256, 256, 3)
    assert texture.std() > 5


def test_a_mesh_goes_to_ply_with_colours(head, fitted, flags, tmp_path):
    call("flame", "export", 3, "-o", tmp_path / "anna.ply", "--skin", "model", *flags)
    header, _, body = (tmp_path / "anna.ply").read_bytes().partition(b"end_header\n")
    count = len(head.template)
    assert f"element vertex {count}\n".encode() in header
    rows = np.frombuffer(body, np.dtype([("place", "<f4", 3), ("colour", "u1", 3)]), count)
    p = Parameters.from_arrays(artifacts.load(fitted["output"]).arrays).rows([3])
    np.testing.assert_allclose(rows["place"], head.vertices(p.shape, p.expression, p.pose)[0], atol=1e-6)
    nose = rows["colour"][head.regions["nose"]].astype(int)
    assert (nose[:, 0] > nose[:, 2]).all()  # skin is reddish
    call("flame", "export", 3, "-o", tmp_path / "clay.ply", "--skin", "clay", *flags)
    assert b"property uchar red" not in (tmp_path / "clay.ply").read_bytes()[:400]


ERRORS = [
    (["render", "99"], 2, r"99: expected a row of .*flame.h5 \(0 to 23\) or an .npz file, found neither"),
    (["render", "anna"], 2, r"anna: expected a row of .*flame.h5 \(0 to 23\) or an .npz file, found neither"),
    (["render", "๓"], 2, r"๓: expected a row of .*flame.h5 \(0 to 23\) or an .npz file, found neither"),
    (["render", "1", "2", "3"], 2, r"expected one head to turn or two to interpolate, found 3"),
    (["render", "1", "--frames", "1"], 2, r"--frames: expected at least 2, found 1"),
    (
        ["render", "{npz}"],
        2,
        r"--skin photo: expected rows, whose photos are in faces.h5, found an .npz; use --skin model",
    ),
    (["render", "no.npz", "--skin", "model"], 1, r"no.npz: expected an .npz of parameters, found no such file; check"),
    (
        ["export", "1", "-o", "x.stl"],
        2,
        r"--output x.stl: expected a name that ends in .obj, .ply, .npz, found another",
    ),
    (["export", "1", "2", "-o", "x.obj"], 2, r"x.obj: expected one head for a mesh, found 2; export them one by one"),
    (["export", "-o", "x.obj"], 2, r"ROW\|NPZ: expected at least one head, found none"),
    (
        ["export", "1", "-o", "x.obj", "--order", "deca"],
        2,
        r"--order deca: expected a name that ends in .npz, found x.obj",
    ),
    (
        ["export", "1", "-o", "x.npz", "--order", "vhap"],
        2,
        r"--order vhap: expected the head flame, .* procedural; fit",
    ),
    (["export", "{npz}", "-o", "x.obj"], 2, r"--skin photo: expected rows, .*; use --skin model"),
    (["export", "1", "-o", "x.obj", "--flame", "no.h5"], 1, r"no.h5: expected an fg artifact, found no such file; run"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), ERRORS)
def test_wrong_commands_get_one_sentence(flags, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    call("flame", "export", 1, "-o", "one.npz", *flags)
    given = [text.format(npz="one.npz") for text in arguments]
    chosen = [] if "--flame" in given else flags
    done = call("flame", *given, *chosen, *(["--faces", flags[3]] if not chosen else []), code=code)
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, lines
    assert re.search(message, lines[0]), lines
    assert {path.name for path in tmp_path.iterdir()} == {"one.npz"}


def test_photos_of_other_faces_are_refused(fitted, tmp_path):
    """flame.h5 names the faces.h5 that it was made from: the skin of another person would be taken without a word."""
    make(tmp_path, n=8, seed=9)
    given = ["--flame", fitted["output"], "--faces", tmp_path / "faces.h5", "--size", 32, "-o", tmp_path / "x.png"]
    for row in (3, 20):
        done = call("flame", "render", row, *given, code=1)
        assert "expected" in done.stderr
        assert "found" in done.stderr
        assert "defect" not in done.stderr


def test_the_stage_runs_after_one_of_its_verbs(flags, tmp_path):
    call("flame", "export", 1, "-o", tmp_path / "one.npz", *flags)
    assert "no.h5: expected" in call("flame", "--faces", "no.h5", code=1).stderr


def test_the_new_stages_import_nothing_heavy():
    program = (
        "import importlib, sys\n"
        "for n in ('heads', 'regressor', 'flame', 'head_pictures'):\n"
        "    importlib.import_module(f'fgcli.stages.{n}')\n"
        "print([m for m in ('torch', 'h5py', 'dlib', 'sklearn', 'scipy', 'matplotlib', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
