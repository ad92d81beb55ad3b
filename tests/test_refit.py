"""Attributes read off inferred parameters: by themselves, and as the witness of `fg edits`."""

import json

import numpy as np
import pytest
import torch
from conftest import heads_params, regressor_params
from test_judges import write_colours

from fgcli import artifacts, config
from fgcli.classifiers.judges import worth
from fgcli.errors import FgError
from fgcli.fitting.refit import Refit
from fgcli.generators import GENERATORS, store
from fgcli.heads.parameters import Parameters
from fgcli.stages import editor, edits, heads, invert, judges
from fgcli.stages import regressor as training

FRAMING = 0.8


def params(name, stage, **changes):
    return config.section({name: config.overlay(config.defaults()[name], changes)}, name, stage.Params)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """240 heads, a regressor of 120 steps, eigenpictures, and what edits which way a head looks."""
    folder = tmp_path_factory.mktemp("refit")
    files = {name: folder / f"{name}.h5" for name in ("faces", "flame", "regressor", "generator", "latents", "judges")}
    heads.run(files["faces"], files["flame"], folder / "faces.png", params=heads_params(n=240, test=0.3))
    taught = regressor_params(width=8, steps=120, batch=32, validate_steps=120, learning_rate=0.005)
    training.run(files["faces"], files["flame"], files["regressor"], folder / "regressor", params=taught)
    build = {"name": "pca", "codes": 32}
    model = config.build(GENERATORS, build, "test", image_shape=(3, 32, 32))
    model.fit(artifacts.rows(files["faces"], "images")[...])
    about = {"ema": model.state_dict(), "build": build, "history": {}, "training": {}, "params": {}, "inputs": {}}
    store.save(files["generator"], model, **about)
    invert.run(files["faces"], files["generator"], files["latents"], params=params("invert", invert))
    learned = params("judges", judges, steps=60, network={"name": "residual", "width": 0.25}, threads=1)
    worthy = {"output": files["judges"], "metrics": folder / "judges.json", "folder": folder / "judges"}
    judges.run(files["faces"], files["latents"], None, **worthy, params=learned)
    methods = {"mean": {"name": "mean_difference", "match": []}}
    moves = editor.Params(methods=methods, attributes=["looking_left", "eyeglasses"], layers=None, seed=0)
    editor.run(files["latents"], None, None, folder / "editor.h5", params=moves)
    return folder


@pytest.fixture(scope="module")
def refit(out):
    return Refit(out / "regressor.h5", FRAMING)


def test_refits_of_unedited_renders_tell_the_truth(out, refit):
    faces = artifacts.load(out / "faces.h5")
    rows = np.flatnonzero(faces["split"] == 2)
    said = refit.degrees(refit.parameters([faces["images"][rows[:20]], faces["images"][rows[20:]]]))
    assert refit.names == faces.meta["attribute_names"][:-1]  # all but glasses
    found = worth(refit.names, said, faces["attributes"][rows, :-1], faces["identity"][rows])["looking_left"]
    assert found["error"] < 0.15 < found["floor"]
    assert found["average_precision"] > 0.9


def test_shapes_are_apart_as_vertices_are(refit):
    p, q = Parameters.zeros(2), Parameters.zeros(2)
    p.shape[:] = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    q.expression[:] = 1.0  # who somebody is does not hang on it
    face, none = refit.head.regions["face"], torch.zeros(2, 6)
    still = [refit.head.vertices(x.shape, torch.zeros(2, 50), none)[:, face] for x in (p, q)]
    height = refit.head.template[:, 1].max() - refit.head.template[face, 1].min()
    want = 100 / height * (still[0] - still[1]).square().sum(2).mean(1).sqrt()
    np.testing.assert_allclose(refit.apart(p, q), want, rtol=1e-3)
    assert refit.apart(p, p).tolist() == [0, 0]


def test_edits_are_told_by_refits_beside_their_own_error(out, tmp_path):
    files = [out / f"{name}.h5" for name in ("generator", "latents", "editor", "judges", "faces")]
    given = params("edits", edits)
    written = tmp_path / "e.json", tmp_path / "e.html"
    edits.run(*files, *written, regressor=out / "regressor.h5", params=given)
    told = json.loads(written[0].read_text())
    left, glasses = (told["edits"][name]["mean"]["refitted"] for name in ("looking_left", "eyeglasses"))
    assert left["target_change"]["value"] > 0.3
    assert left["moved"]["value"] > 0.5
    assert set(left) == {"target_change", "moved", "attributes_kept", "shape_moved"}
    assert set(glasses) == {"attributes_kept", "shape_moved"}  # no parameter tells them
    assert "identity" not in told["edits"]["looking_left"]["mean"]
    trust = told["refit"]["held_out"]
    assert trust["images"]["looking_left"]["error"] < 0.15
    assert set(trust["reconstructions"]["looking_left"]) == set(told["judges"]["looking_left"])
    assert set(told["refit"]["shape"]) == {"one_person", "two_people"}
    page = written[1].read_text()
    assert page.count("refitted: changed as asked") == 2
    assert "Refits err on" in page
    assert "Parameters do not tell it." in page


def test_pictures_that_are_no_faces_are_not_refitted(out, tmp_path):
    faces = write_colours(tmp_path) / "faces.h5"
    with pytest.raises(FgError, match=r"faces.h5: expected faces to refit by .*regressor.h5, found pictures taken"):
        edits.refitting(out / "regressor.h5", faces)
