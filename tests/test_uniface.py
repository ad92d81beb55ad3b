"""The uniface analyser and segmenter, run on tiny ONNX networks of the real networks' input and output form."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_faces import face_points, gradient

from fgcli.config import build
from fgcli.errors import FgError, UsageError
from fgcli.faces import ANALYSERS, SEGMENTERS, align
from fgcli.faces.uniface_segmenter import DROPPED
from fgcli.faces.view import View

CELLS, SIDE = 8, 256


def constant_network(path, input_shape, outputs: dict[str, np.ndarray]):
    """An ONNX file that answers every input with `outputs`, in that order."""
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    nodes += [helper.make_node("Add", [f"{name}_value", "nothing"], [name]) for name in outputs]
    values = [numpy_helper.from_array(v.astype(np.float32), f"{k}_value") for k, v in outputs.items()]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v.shape) for k, v in outputs.items()],
        [zero, *values],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def detector(path):
    """RetinaFace that finds its 256 px anchor nearest to the middle of 640 x 640, and nothing else."""
    from uniface.common import generate_anchors

    anchors = generate_anchors(image_size=(640, 640))
    best = np.abs(anchors - np.array([0.5, 0.5, 0.4, 0.4])).sum(1).argmin()
    confidence = np.zeros((1, len(anchors), 2))
    confidence[0, best, 1] = 0.9
    outputs = {"loc": np.zeros((1, len(anchors), 4)), "conf": confidence, "lm": np.zeros((1, len(anchors), 10))}
    constant_network(path, (1, 3, 640, 640), outputs)
    return anchors[best] * 640


def landmarker(path, points):
    """PIPNet that always answers `points` (68, 2), in fractions of its input."""
    from uniface.landmark._meanface import get_meanface_info

    at = points * CELLS
    cell = np.clip(np.floor(at).astype(int), 0, CELLS - 1)
    heat, offsets = np.zeros((1, 68, CELLS, CELLS)), np.zeros((2, 1, 68, CELLS, CELLS))
    neighbours = np.zeros((2, 1, 680, CELLS, CELLS))
    heat[0, np.arange(68), cell[:, 1], cell[:, 0]] = 1
    first, second, longest = get_meanface_info(68, 10)
    for axis in (0, 1):
        offsets[axis, 0] += (at - cell)[:, axis, None, None]
        for entry, (k, slot) in enumerate(zip(first, second, strict=True)):
            neighbours[axis, 0, k * 10 + slot] = at[entry // longest, axis] - cell[k, axis]
    outputs = {"cls": heat, "ox": offsets[0], "oy": offsets[1], "nx": neighbours[0], "ny": neighbours[1]}
    constant_network(path, (1, 3, SIDE, SIDE), outputs)


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """Uniface finds its weight files in `tmp_path`, by the name of the network."""

    def found(model, *_, **__):
        return str(tmp_path / f"{type(model).__name__}.onnx")

    for module in ("detection.retinaface", "landmark.pipnet", "parsing.bisenet"):
        monkeypatch.setattr(f"uniface.{module}.verify_model_weights", found)
    return tmp_path


def test_analyser_gives_68_landmarks_in_photo_px(weights):
    x, y, width, height = detector(weights / "RetinaFaceWeights.onnx")
    points = (face_points() - 20) / 160
    landmarker(weights / "PIPNetWeights.onnx", points)
    analyser = build(ANALYSERS, {"name": "uniface"}, "preprocess.analyser")
    (face,) = analyser.analyse(gradient(640, 640))
    assert face.score == pytest.approx(0.9)
    assert face.box == pytest.approx((x - width / 2, y - height / 2, x + width / 2, y + height / 2), abs=1)
    assert face.landmarks.shape == (68, 2)
    assert face.flaw == ""
    spread = np.ptp(face.landmarks, axis=0) / np.ptp(points, axis=0)
    assert spread == pytest.approx([1.2 * width, 1.0 * height], rel=0.02)  # PIPNet's own margins around the box
    assert face.landmarks.mean(0)[0] == pytest.approx(x, abs=2)


def test_segmenter_keeps_the_right_classes(weights):
    side = 38
    logits = np.zeros((1, 19, side, side))
    for kind in range(19):
        logits[0, kind, :, 2 * kind : 2 * kind + 2] = 1  # 19 upright stripes
    constant_network(weights / "ParsingWeights.onnx", (1, 3, side, side), {"out": logits})
    segmenter = build(SEGMENTERS, {"name": "uniface"}, "preprocess.segmenter")
    points, photo = face_points(), gradient(220, 200)
    mask = segmenter.segment(View(photo, points, align.crop_transform(points, 190, 1.0), 190))
    kept = [k for k in range(19) if (mask[90:100, 10 * k + 3 : 10 * k + 7] == 255).all()]
    assert kept == [k for k in range(19) if k not in DROPPED] == [1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 17, 18]
    tight = segmenter.segment(View(photo, points, align.crop_transform(points, 190, 0.5), 190))
    same = tight[95] == mask[95, 47 + np.arange(190) // 2]
    assert same.mean() > 0.95  # all but the edges of stripes


@pytest.mark.parametrize(("registry", "key"), [(ANALYSERS, "analyser"), (SEGMENTERS, "segmenter")])
def test_weights_that_cannot_be_fetched(monkeypatch, registry, key):
    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    for module in ("detection.retinaface", "landmark.pipnet", "parsing.bisenet"):
        monkeypatch.setattr(f"uniface.{module}.verify_model_weights", unreachable)
    with pytest.raises(
        FgError, match=rf"preprocess.{key}: expected uniface's weights .*no route to host.*UNIFACE_CACHE_DIR"
    ):
        build(registry, {"name": "uniface"}, f"preprocess.{key}")


def test_absent_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uniface.parsing", None)
    with pytest.raises(FgError, match=r'pip install "fgcli\[uniface\]"'):
        build(SEGMENTERS, {"name": "uniface"}, "preprocess.segmenter")


def test_confidence_range():
    with pytest.raises(UsageError, match="preprocess.analyser.confidence: input should be less than 1, found 2"):
        build(ANALYSERS, {"name": "uniface", "confidence": 2}, "preprocess.analyser")
