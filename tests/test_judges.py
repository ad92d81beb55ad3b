"""Judges: what teaches them, what makes probabilities of their logits, and what `fg judges` says of them."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import average_precision_score

from fgcli import artifacts, config
from fgcli.classifiers.judges import LatentJudge, known_to, load
from fgcli.errors import FgError
from fgcli.generators import GENERATORS, store
from fgcli.intervals import average_precision, precision_interval
from fgcli.objectives.judging import Judging
from fgcli.stages import judges as stage
from fgcli.training import checkpoint
from fgcli.training.columns import COLUMNS, Column, real

CODES = Column("codes", "latents", "codes", real)
NAMES = ["red", "bright", "never"]


def write_colours(folder, rows=240):
    """Noisy pictures of 16 px, half of them red and a third bright, six of each person; and codes that tell it."""
    rng = np.random.default_rng(0)
    people = np.arange(rows) // 6
    red, bright = rng.random(rows) < 0.5, rng.random(rows) < 0.33
    base = np.where(bright, 150, 70)[:, None, None, None] + np.stack([80 * red, 0 * red, -40 * red], 1)[:, None, None]
    images = (base + rng.normal(0, 15, (rows, 16, 16, 3))).clip(0, 255).astype(np.uint8)
    labels = np.stack([red, bright, np.zeros(rows)], 1).astype(np.int8)
    labels[rng.random(labels.shape) < 0.1] = -1
    labels[:, 2] = np.minimum(labels[:, 2], 0)
    arrays = {
        "images": images,
        "attributes": labels,
        "identity": people.astype(np.int32),
        "split": np.array([0, 0, 0, 0, 1, 2], np.uint8)[people % 6],
        "source": [f"colours/{i}" for i in range(rows)],
        "rejected/source": np.zeros(0, "S1"),
        "rejected/reason": np.zeros(0, "S1"),
    }
    meta = {"content": "pictures", "attribute_names": NAMES, "datasets": [], "analyser": None, "segmenter": None}
    artifacts.save(folder / "faces.h5", artifacts.FACES, arrays, params={}, inputs={}, meta=meta)
    codes = np.stack([2.0 * red - 1, 2.0 * bright - 1, rng.normal(size=rows)], 1) + 0.3 * rng.normal(size=(rows, 3))
    about = {"space": "z", "generator": "abc", "build": {"name": "pca"}, "inverter": {"name": "encoder"}, "seed": 0}
    artifacts.save(
        folder / "latents.h5",
        artifacts.LATENTS,
        {
            "codes": codes[:, None].astype(np.float32),
            "error": np.zeros(rows, np.float32),
            "attributes": labels,
            "split": arrays["split"],
        },
        params={},
        inputs={"faces": folder / "faces.h5"},
        meta=about | {"self_test": {}, "attribute_names": NAMES},
    )
    return folder


def params(**changes):
    small = {"network": {"name": "residual", "width": 0.2}, "hidden": 16, "steps": 60, "batch": 32}
    small |= {"threads": 1, "precision": "float32", "device": "cpu", "validate_steps": 20, "learning_rate": 0.01}
    return config.section(
        {"judges": config.overlay(config.defaults()["judges"], small | changes)}, "judges", stage.Params
    )


def train(folder, name="judges", generator=None, **changes):
    files = {"output": folder / f"{name}.h5", "metrics": folder / f"{name}.json", "folder": folder / name}
    given = {"faces": folder / "faces.h5", "latents": folder / "latents.h5", "generator": generator}
    return stage.run(**given, **files, params=params(**changes))


# ---- mathematics


def test_average_precision_is_scikit_learns_with_weights_and_ties():
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores, labels = rng.integers(0, 12, 40) / 11, rng.integers(0, 2, 40)
        weights = rng.integers(0, 4, (3, 40)).astype(float)
        wanted = [average_precision_score(labels, scores, sample_weight=w) for w in weights]
        np.testing.assert_allclose(average_precision(scores, labels, weights), wanted, rtol=1e-12)


def test_precision_of_a_guess_is_the_share_of_those_with_the_attribute():
    rng = np.random.default_rng(1)
    labels = (rng.random(3000) < 0.2).astype(int)
    value, low, high = precision_interval(rng.random(3000), labels, np.arange(3000) // 3)
    assert low < 0.2 < high
    assert low < value < high


def test_the_loss_weighs_both_sides_equally_and_unknown_labels_nothing():
    torch.manual_seed(0)
    judge = LatentJudge(2, 3, 4)
    objective = Judging(judge, CODES, COLUMNS["attributes"], np.array([[30, 10], [10, 30]]))
    x, labels = torch.randn(6, 1, 3), torch.tensor([[0, 1], [1, 1], [-1, 0], [0, -1], [1, 0], [0, 1]])
    batch, rng = {"codes": x, "labels": labels}, torch.Generator()
    objective.eval()
    total = weight = 0.0
    for i, k in np.argwhere(labels.numpy() >= 0):
        w = [[2 / 3, 2.0], [2.0, 2 / 3]][labels[i, k]][k]
        total += w * F.binary_cross_entropy_with_logits(judge.logits(x)[i, k], labels[i, k].float())
        weight += w
    found = objective.loss(batch, rng)
    torch.testing.assert_close(found["bce"], total / weight)
    logits = judge.logits(x).detach().requires_grad_()
    judge.logits = lambda _: logits
    objective.loss(batch, rng)["bce"].backward()
    assert (logits.grad[labels < 0] == 0).all()
    assert (logits.grad[labels >= 0] != 0).all()


def test_swapped_codes_come_of_the_same_place_of_another_row_and_only_in_training():
    seen = []
    judge = LatentJudge(1, 4, 2)
    judge.logits = lambda x: seen.append(x) or x.flatten(1)[:, :1]
    objective = Judging(judge, CODES, COLUMNS["attributes"], np.array([[1], [1]]), swapped=0.5)
    x = torch.arange(40.0).view(10, 1, 4)
    batch = {"codes": x, "labels": torch.zeros(10, 1, dtype=torch.long)}
    objective.loss(batch, torch.Generator().manual_seed(0))
    objective.eval().loss(batch, torch.Generator())
    moved = seen[0] != x
    assert 0.3 < moved.float().mean() < 0.7
    assert torch.equal(seen[0] % 4, x % 4)
    assert torch.equal(seen[1], x)


def test_calibration_undoes_the_weights_and_learns_the_line():
    rng = np.random.default_rng(0)
    plain = rng.normal(0, 2, (4000, 1))
    labels = (rng.random((4000, 1)) < 1 / (1 + np.exp(-(0.5 * plain - 1)))).astype(np.int8)
    judge = LatentJudge(1, 2, 2)
    judge.calibrate(plain, labels, np.array([0.1]))
    assert (judge.scale.item(), judge.shift.item()) == (pytest.approx(0.5, abs=0.05), pytest.approx(-1, abs=0.1))
    judge.calibrate(plain[:15], np.array([[0]] * 11 + [[-1]] * 4), np.array([0.25]))
    assert (judge.scale.item(), judge.shift.item()) == (1.0, pytest.approx(np.log(0.25)))


# ---- fg judges


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    folder = write_colours(tmp_path_factory.mktemp("judges"))
    return folder, train(folder)


def test_judges_learn_and_say_what_they_are_worth(judged, capsys):
    folder, told = judged
    assert told["attributes"] == ["red", "bright"]
    for judge in ("images", "codes"):
        for about in told["held_out"][judge].values():
            assert about["floor"] < 0.7 < about["average_precision"]
            assert about["low"] <= about["average_precision"] <= about["high"]
            assert about["error"] < 0.25
            assert about["rows"] < 40  # unknown ones are no test
    assert json.loads((folder / "judges.json").read_text())["held_out"] == told["held_out"]


def test_judges_are_read_back_and_judge_other_sizes(judged):
    folder, told = judged
    judges = load(folder / "judges.h5")
    assert (judges.names, judges.generator, judges.held_out) == (["red", "bright"], "abc", told["held_out"])
    images = artifacts.rows(folder / "faces.h5", "images")
    labels = artifacts.rows(folder / "faces.h5", "attributes")[:, :2]
    large = np.kron(images[:50], np.ones((1, 2, 2, 1), np.uint8))
    assert np.abs(judges.images.probabilities(large) - judges.images.probabilities(images[:50])).mean() < 0.2
    for said in (judges.images.probabilities(images[:50]), judges.codes.probabilities(codes_of(folder)[:50])):
        assert said.shape == (50, 2)
        assert ((said > 0.5) == labels[:50])[labels[:50] >= 0].mean() > 0.8
    assert judges.images.probabilities(large[:0]).shape == (0, 2)
    assert known_to(judges, ["bright"], folder) == [1]
    with pytest.raises(FgError, match=r"expected judges of never, found those of red, bright; run fg judges on faces"):
        known_to(judges, ["never"], folder)


def codes_of(folder):
    return artifacts.rows(folder / "latents.h5", "codes")


def test_a_stopped_run_of_judges_goes_on_and_equal_runs_give_equal_bytes(judged):
    folder, _ = judged
    before = (folder / "judges.h5").read_bytes()
    train(folder)
    assert (folder / "judges.h5").read_bytes() == before
    train(folder, "again")
    assert (folder / "again.h5").read_bytes() == before


def test_judges_of_what_nobody_has_are_told(judged, tmp_path):
    folder, _ = judged
    stored = artifacts.load(folder / "faces.h5", artifacts.FACES)
    arrays = dict(stored.arrays) | {"attributes": stored["attributes"][:, 2:]}
    meta = dict(stored.meta) | {"attribute_names": ["never"]}
    artifacts.save(tmp_path / "faces.h5", artifacts.FACES, arrays, params={}, inputs={}, meta=meta)
    with pytest.raises(
        FgError, match=r"faces.h5: expected an attribute that some training rows have and some have not"
    ):
        stage.run(tmp_path / "faces.h5", None, None, tmp_path / "j.h5", tmp_path / "j.json", tmp_path, params=params())
    assert [p.name for p in tmp_path.iterdir()] == ["faces.h5"]
    with pytest.raises(
        FgError, match=r"judges.consistency: expected latents.h5 and generator.h5, found none; give both"
    ):
        train(folder, "never", steps=1, consistency=True)


def test_a_judge_of_reconstructions_is_of_this_generator_alone(judged, tmp_path):
    folder, _ = judged
    shutil.copy(folder / "faces.h5", tmp_path)
    build, found = {"name": "conv_autoencoder", "codes": 3, "width": 0.1}, []
    stored = artifacts.load(folder / "latents.h5", artifacts.LATENTS)
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = config.build(GENERATORS, build, "test", image_shape=(3, 16, 16))
        about = {"ema": model.state_dict(), "build": build, "history": {}, "params": {}, "inputs": {}, "training": {}}
        store.save(tmp_path / "generator.h5", model, **about)
        meta = stored.meta | {"generator": artifacts.sha256(tmp_path / "generator.h5"), "build": build}
        artifacts.save(tmp_path / "latents.h5", artifacts.LATENTS, stored.arrays, params={}, inputs={}, meta=meta)
        told = train(tmp_path, steps=3, consistency=True, generator=tmp_path / "generator.h5")
        found.append(checkpoint.about(tmp_path / "judges/reconstructions/last.h5")["fingerprint"])
        assert set(told["consistency"]) == {"taught_by_photos", "taught_by_reconstructions", "floor"}
        assert told["split"] == "test"
    assert found[0] == found[1] != found[2]


def test_a_judge_of_identity_that_is_not_here_is_told_before_any_training(tmp_path, monkeypatch):
    write_colours(tmp_path)
    typical = {"landmarks": np.zeros((68, 2), np.float32)}
    monkeypatch.setattr(stage.Bench, "typical", lambda self: typical)
    pytest.importorskip("uniface.recognition")  # whole: half of it would stay for the tests that come later
    monkeypatch.setitem(sys.modules, "uniface.recognition", None)
    with pytest.raises(FgError, match=r"judges.identity: expected the package uniface, found none; pip install"):
        train(tmp_path, identity={"name": "uniface"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces.h5", "latents.h5"]
