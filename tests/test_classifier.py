"""The classifier: a network, its loss, and what `fg classifier` learns of digits."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import NearestCentroid

from fgcli import artifacts, config
from fgcli.classifiers.network import Classifier, load
from fgcli.errors import FgError
from fgcli.objectives.classification import Classification, numbered
from fgcli.stages import classifier as stage
from fgcli.training.loop import Loop

NAMES = ["none", *(f"digit {i}" for i in range(10))]


def write_digits(path, rows=1797):
    """Digits as a faces.h5 of 16 px: identities 1 to 10, those of the first five rows unknown."""
    digits = load_digits()
    images = np.kron(digits.images[:rows], np.ones((2, 2))) * (255 / 16)
    arrays = {
        "images": np.repeat(images.astype(np.uint8)[..., None], 3, 3),
        "attributes": np.zeros((rows, 0), np.int8),
        "identity": digits.target[:rows].astype(np.int32) + 1,
        "split": np.array([0, 0, 0, 0, 1, 2, 2], np.uint8)[np.random.default_rng(0).permutation(rows) % 7],
        "source": [f"digits/{i}" for i in range(rows)],
        "rejected/source": np.zeros(0, "S1"),
        "rejected/reason": np.zeros(0, "S1"),
    }
    arrays["identity"][:5] = -1
    meta = {"content": "digits", "attribute_names": [], "datasets": [], "analyser": None, "segmenter": None}
    meta |= {"identity_names": NAMES}
    artifacts.save(path, artifacts.FACES, arrays, params={}, inputs={}, meta=meta)
    return path


def params(**changes):
    small = {"width": 0.25, "steps": 150, "threads": 1, "precision": "float32", "device": "cpu", "validate_steps": 50}
    values = config.overlay(config.defaults()["classifier"], small | changes)
    return config.section({"classifier": values}, "classifier", stage.Params)


# ---- the network


@pytest.mark.parametrize("side", [16, 28, 32, 40, 64])
def test_pictures_of_any_side_give_features_and_probabilities(side):
    network = Classifier(7, side, width=0.25).eval()
    images = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), np.uint8)
    features, known = network.features(images), network.probabilities(images)
    assert (features.shape, features.dtype) == ((5, network.size), np.float32)
    assert (known.shape, known.dtype) == ((5, 7), np.float32)
    np.testing.assert_allclose(known.sum(1), 1, rtol=1e-5)
    np.testing.assert_allclose(network.features(images[3:]), features[3:], rtol=1e-4, atol=1e-6)
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        np.testing.assert_allclose(network(x).softmax(1), known, rtol=1e-4, atol=1e-6)
    assert network.features(images[:0]).shape == (0, network.size)
    assert network.probabilities(images[:0]).shape == (0, 7)


def test_more_pictures_than_fit_at_once_and_of_another_side():
    network = Classifier(3, 16, width=0.125).eval()
    images = np.random.default_rng(0).integers(0, 256, (300, 24, 24, 3), np.uint8)
    whole = network.features(images)
    np.testing.assert_allclose(whole[290:], network.features(images[290:]), rtol=1e-4, atol=1e-6)


def test_wrong_arguments_and_pictures_are_told():
    with pytest.raises(ValueError, match="classifier expects classes >= 2, side >= 16, width > 0, found 1, 16, 1"):
        Classifier(1, 16, 1)
    with pytest.raises(ValueError, match="found 2, 8, 1"):
        Classifier(2, 8, 1)
    network = Classifier(2, 16, 0.25).eval()
    with pytest.raises(ValueError, match="expected uint8"):
        network.features(np.zeros((1, 16, 16, 3), np.float32))


# ---- the objective


def test_cross_entropy_and_its_gradient():
    """L = -mean log p_label, dL/dlogits = (p - onehot) / n; written out."""
    torch.manual_seed(0)
    objective = Classification(Classifier(3, 16, 0.25), [4, 5, 9]).eval()
    batch = {"images": torch.randn(3, 3, 16, 16), "labels": torch.tensor([1, 2, 0])}
    logits = objective.network(batch["images"])
    terms = objective.loss(batch, torch.Generator())
    p, wanted = logits.softmax(1).detach(), torch.tensor([1, 2, 0])
    assert terms["cross_entropy"].item() == pytest.approx(-p[range(3), wanted].log().mean().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(terms["cross_entropy"], objective.network.answer.bias)
    torch.testing.assert_close(gradient, (p - torch.eye(3)[wanted]).mean(0), rtol=1e-4, atol=1e-6)
    assert terms["accuracy"].item() == pytest.approx((p.argmax(1) == wanted).float().mean().item())
    assert not terms["accuracy"].requires_grad
    assert objective.phases[0].weights == {"cross_entropy": 1.0, "accuracy": 0.0}


def test_noise_only_while_training_and_by_the_generator_alone():
    torch.manual_seed(0)
    objective = Classification(Classifier(3, 16, 0.25), [0, 1, 2])
    batch = {"images": torch.randn(4, 3, 16, 16), "labels": torch.tensor([0, 1, 2, 0])}

    def value(seed):
        return objective.loss(batch, torch.Generator().manual_seed(seed))["cross_entropy"].item()

    assert value(1) == value(1) != value(2)
    objective.eval()
    assert value(1) == value(2)


# ---- the stage


def test_classes_are_the_identities_that_train():
    identity, split = np.array([7, 3, -1, 9, 3, 12, 7, -1]), np.array([0, 0, 0, 1, 2, 2, 1, 1])
    classes = stage.trained_classes(identity, split, "faces.h5")
    assert classes == [3, 7]
    assert numbered(classes, identity).tolist() == [1, 0, -1, -1, 0, -1, 1, -1]
    with pytest.raises(FgError, match=r"faces.h5: expected rows of two classes or more that train, found 1"):
        stage.trained_classes(identity, np.array([0, 1, 1, 1, 1, 1, 1, 1]), "faces.h5")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """Digits and their classifier.h5; nobody changes them."""
    folder = tmp_path_factory.mktemp("digits")
    faces = write_digits(folder / "faces.h5")
    summary = stage.run(faces, folder / "classifier.h5", folder / "run", params=params())
    return faces, folder / "classifier.h5", summary


def test_digits_are_told_apart_by_classes_and_by_features(digits):
    faces, path, summary = digits
    assert summary["accuracy"]["test"] >= 0.97
    known, stored, network = artifacts.load(faces), artifacts.load(path, artifacts.CLASSIFIER), load(path)
    assert stored.meta["classes"] == list(range(1, 11))
    assert stored.meta["identity_names"] == NAMES[1:]
    assert stored.meta["training"]["accuracy"] == summary["accuracy"]
    assert stored.inputs == {"faces": artifacts.sha256(faces)}
    rows = {name: (known["split"] == i) & (known["identity"] > 0) for i, name in enumerate(artifacts.SPLITS)}
    assert summary["rows"] == {name: part.sum() for name, part in rows.items()}
    guess = network.probabilities(known["images"][rows["test"]]).argmax(1) + 1
    assert summary["accuracy"]["test"] == (guess == known["identity"][rows["test"]]).mean()
    near = NearestCentroid().fit(network.features(known["images"][rows["train"]]), known["identity"][rows["train"]])
    right = near.predict(network.features(known["images"][rows["test"]])) == known["identity"][rows["test"]]
    assert right.mean() >= 0.97
    assert not network.training
    assert {"classifier/cross_entropy", "classifier/accuracy", "validation"} <= set(stored.group("history"))


def test_a_broken_run_goes_on_bit_for_bit(tmp_path, monkeypatch):
    faces = write_digits(tmp_path / "faces.h5", 100)
    short = params(steps=8, batch=8, validate_steps=3, checkpoint_seconds=1e-6)
    stage.run(faces, tmp_path / "whole.h5", tmp_path / "whole", params=short)
    steps = Loop.run

    def broken(self, batches):
        for tick in steps(self, batches):
            yield tick
            if tick.step == 5:
                raise RuntimeError("power cut")

    monkeypatch.setattr(Loop, "run", broken)
    with pytest.raises(RuntimeError, match="power cut"):
        stage.run(faces, tmp_path / "again.h5", tmp_path / "again", params=short)
    monkeypatch.undo()
    stage.run(faces, tmp_path / "again.h5", tmp_path / "again", params=short)
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert (tmp_path / "again/stats.jsonl").read_text() == (tmp_path / "whole/stats.jsonl").read_text()


def test_faces_of_people_who_are_all_held_out_validate_on_what_trains(faces, tmp_path):
    """Painted faces are each of their own person: none of the others is known."""
    summary = stage.run(faces, tmp_path / "c.h5", tmp_path / "run", params=params(steps=4, batch=8, validate_steps=2))
    assert summary["rows"] == {"train": 48, "val": 0, "test": 0}
    assert list(summary["accuracy"]) == ["train"]
    assert artifacts.load(tmp_path / "c.h5").meta["identity_names"] == []
