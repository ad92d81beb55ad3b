"""The uniface analyser and segmenter, run on tiny ONNX networks of the real networks' input and output form."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_faces import face_points, gradient

from fgcli import artifacts
from fgcli.backbones import IDENTITIES, dlib_embedding
from fgcli.certificate import identity_judge
from fgcli.config import build, supply
from fgcli.errors import FgError, UsageError
from fgcli.faces import ANALYSERS, SEGMENTERS, align
from fgcli.faces.uniface_segmenter import DROPPED
from fgcli.faces.view import View

CELLS, SIDE = 8, 256
MODULES = ("detection.retinaface", "landmark.pipnet", "parsing.bisenet", "recognition.arcface")
MODELS = [
    (ANALYSERS, "preprocess.analyser", "detection"),
    (SEGMENTERS, "preprocess.segmenter", "parsing"),
    (IDENTITIES, "judges.identity", "recognition"),
]


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

    for module in MODULES:
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


@pytest.mark.parametrize(("registry", "key", "module"), MODELS)
def test_weights_that_cannot_be_fetched(monkeypatch, registry, key, module):
    def unreachable(*_, **__):
        raise ConnectionError("no route to host")

    for module in MODULES:
        monkeypatch.setattr(f"uniface.{module}.verify_model_weights", unreachable)
    with pytest.raises(FgError, match=rf"{key}: expected uniface's weights .*no route to host.*UNIFACE_CACHE_DIR"):
        supply(registry, {"name": "uniface"}, key, landmarks=face_points())


@pytest.mark.parametrize(("registry", "key", "module"), MODELS)
def test_absent_package(monkeypatch, registry, key, module):
    monkeypatch.setitem(__import__("sys").modules, f"uniface.{module}", None)
    with pytest.raises(FgError, match=rf'{key}: expected the package uniface.*pip install "fgcli\[uniface\]"'):
        supply(registry, {"name": "uniface"}, key, landmarks=face_points())


def colours_network(path):
    """An ArcFace of 112 px that embeds a face as the means of red, green and blue, in 512 numbers."""
    project = np.eye(3, 512, dtype=np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "project"], ["embedding"]),
    ]
    ends = [("input", ["n", 3, 112, 112]), ("embedding", ["n", 512])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends]
    graph = helper.make_graph(nodes, "colours", values[:1], values[1:], [numpy_helper.from_array(project, "project")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)


def test_arcface_sees_rgb_of_the_aligned_face_and_compares_by_the_cosine(weights):
    colours_network(weights / "ArcFaceWeights.onnx")
    points = face_points()  # of a photo of 220 x 200 px
    images = np.zeros((3, 220, 220, 3), np.uint8)
    images[0], images[1], images[2] = (255, 128, 128), (255, 127, 128), (128, 255, 128)
    images[:, 200:] = 255  # below the face
    with supply(IDENTITIES, {"name": "uniface"}, "judges.identity", landmarks=points, workers=1) as judge:
        found = judge(images)
    assert found.shape == (3, 512)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found[0, :3], [1, 0, 0], atol=0.02)
    near, far = judge.distance(found[1:], found[:1])
    assert near < 0.01
    assert far == pytest.approx(1, abs=0.02)
    assert judge.below == pytest.approx(1 - 0.28)


def test_the_judge_of_identity_is_the_one_that_judges_h5_names(weights, tmp_path):
    colours_network(weights / "ArcFaceWeights.onnx")

    def stored(name, **meta):
        about = {"build": {"network": {"name": "residual"}, "side": 8}, "attributes": ["odd"], "held_out": {}} | meta
        arrays = {"landmarks": face_points().astype(np.float32), "mask": np.zeros((8, 8), np.uint8)}
        arrays["weights/images/scale"] = np.ones(1, np.float32)
        artifacts.save(tmp_path / name, artifacts.JUDGES, arrays, params={}, inputs={}, meta=about)
        return tmp_path / name

    assert identity_judge(stored("a.h5", identity={"name": "uniface"})).title == "ArcFace"
    assert isinstance(identity_judge(stored("b.h5", identity={"name": "dlib"})), dlib_embedding.DlibEmbedding)
    assert identity_judge(stored("c.h5")).title == "dlib"  # a file of before there was a choice
    with pytest.raises(UsageError, match=r"d.h5.name: expected one of dlib, uniface, found 'arcface'"):
        identity_judge(stored("d.h5", identity={"name": "arcface"}))


def test_confidence_range():
    with pytest.raises(UsageError, match="preprocess.analyser.confidence: input should be less than 1, found 2"):
        build(ANALYSERS, {"name": "uniface", "confidence": 2}, "preprocess.analyser")
