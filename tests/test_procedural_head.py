"""The head made of formulas: FLAME's layout, symmetry, order, and that nothing folds, gapes or pokes through."""

import hashlib

import numpy as np
import pytest
import torch

from fgcli.procedural import landmarks, modes, parts, procedural_arrays, procedural_head

REGIONS = ["face", "scalp", "neck", "left_ear", "right_ear", "left_eyeball", "right_eyeball"]


@pytest.fixture(scope="module")
def head():
    return procedural_head(0.72, 64)


@pytest.fixture(scope="module")
def arrays():
    return procedural_arrays(0.72, 64)


@pytest.fixture(scope="module")
def mesh():
    return parts.build(0.72)


def points(arrays: dict, vertices: np.ndarray) -> np.ndarray:
    """The 68 landmarks (68, 3) of vertices (v, 3)."""
    corners = vertices[arrays["faces"][arrays["landmark_faces"]]]
    return (arrays["landmark_weights"][..., None] * corners).sum(1)


def posed(head, name: str = "blink", value: float = 0.0, jaw: float = 0.0) -> np.ndarray:
    """Vertices (v, 3) of an expression and an open jaw."""
    expression, pose = torch.zeros(1, len(head.expression_names)), torch.zeros(1, 6)
    expression[0, head.expression_names.index(name)], pose[0, 3] = value, jaw
    return head.vertices(torch.zeros(1, 1), expression, pose)[0].numpy()


def turned(vertices: np.ndarray, template: np.ndarray, faces: np.ndarray) -> int:
    """How many triangles face away from where they faced."""

    def across(v: np.ndarray) -> np.ndarray:
        return np.cross(v[faces[:, 1]] - v[faces[:, 0]], v[faces[:, 2]] - v[faces[:, 0]])

    return int(((across(vertices) * across(template)).sum(1) < 0).sum())


# ---- layout


@pytest.mark.parametrize(("detail", "low", "high"), [(0.72, 2300, 2900), (1.0, 4400, 5100)])
def test_shapes(detail, low, high):
    a = procedural_arrays(detail, 64)
    v, f = len(a["template"]), len(a["faces"])
    assert low < v < high
    assert a["shape_basis"].shape == (v, 3, 24)
    assert a["expression_basis"].shape == (v, 3, 10)
    assert a["pose_basis"].shape == (v, 3, 36)
    assert a["joint_regressor"].shape == (5, v)
    assert a["weights"].shape == (v, 5)
    assert a["landmark_weights"].shape == (68, 3)
    assert a["contour_weights"].shape == (79, 17, 3)
    assert a["uv_faces"].shape == (f, 3)
    assert a["albedo_basis"].shape == (len(a["texture_names"]), 3, 64, 64)
    assert len(a["expression_names"]) == 10
    assert all(np.isfinite(x).all() for x in a.values() if isinstance(x, np.ndarray))
    assert a["faces"].max() == v - 1
    assert a["uv_faces"].max() == len(a["uv"]) - 1
    assert a["uv_faces"].min() >= 0 == a["faces"].min()


def test_size(arrays):
    face = arrays["template"][arrays["regions"]["face"]]
    assert arrays["template"][:, 1].max() - face[:, 1].min() == pytest.approx(0.23, abs=0.01)
    eyes = (arrays["joint_regressor"] @ arrays["template"])[3:]
    assert eyes[0, 0] - eyes[1, 0] == pytest.approx(0.062, abs=0.002)
    assert eyes[0, 0] > 0  # joint 3 is the subject's left eye


def test_same_bytes():
    first, second = (
        {
            k: hashlib.sha256(v.tobytes()).digest()
            for k, v in procedural_arrays(0.5, 32).items()
            if hasattr(v, "tobytes")
        }
        for _ in range(2)
    )
    assert first == second


# ---- symmetry


def test_template_is_symmetric(mesh):
    np.testing.assert_allclose(mesh.position[mesh.mirror] * [-1, 1, 1], mesh.position, atol=1e-9)
    assert (mesh.mirror[mesh.mirror] == np.arange(len(mesh.mirror))).all()
    mirrored = np.sort(mesh.mirror[mesh.faces], 1)
    assert {*map(tuple, mirrored.tolist())} == {*map(tuple, np.sort(mesh.faces, 1).tolist())}


def test_layout_is_symmetric(arrays, mesh):
    """The texel of a place and that of its mirror image are u and 1 - u."""
    corner = np.zeros((len(mesh.position), 2))
    corner[arrays["faces"]] = arrays["uv"][arrays["uv_faces"]]
    inside = (corner[:, 0] > 0.001) & (corner[:, 0] < 0.999) & (np.arange(len(corner)) != mesh.grid.crown)
    inside &= ~np.isin(np.arange(len(corner)), [*mesh.lips.ravel(), *(ball[-1] for ball in mesh.balls)])
    np.testing.assert_allclose(corner[mesh.mirror][inside] * [-1, 1] + [1, 0], corner[inside], atol=1e-6)
    assert arrays["uv"].min() >= 0
    assert arrays["uv"].max() <= 1


def test_texture_is_symmetric(arrays):
    mean = arrays["albedo_mean"]
    assert abs(mean - mean[:, :, ::-1]).mean() < 0.01
    assert mean.min() >= 0
    assert mean.max() <= 1


# ---- rig


def test_weights_and_regions(arrays):
    np.testing.assert_allclose(arrays["weights"].sum(1), 1, atol=1e-6)
    assert arrays["weights"].min() >= 0
    np.testing.assert_allclose(arrays["joint_regressor"].sum(1), 1, atol=1e-6)
    shared = np.concatenate([arrays["regions"][name] for name in REGIONS])
    assert sorted(shared) == list(range(len(arrays["template"])))
    for name in ("forehead", "nose", "lips", "eye_region"):
        assert len(arrays["regions"][name]) > 10
        assert set(arrays["regions"][name]) <= set(arrays["regions"]["face"])


def test_eyes_turn_on_the_spot(head, mesh):
    straight = posed(head)
    aside = head.vertices(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 6), eyes=torch.tensor([[0, 0.3, 0] * 2]))
    moved = np.linalg.norm(aside[0].numpy() - straight, axis=1)
    balls = np.concatenate(mesh.balls)
    assert moved[np.setdiff1d(np.arange(len(moved)), balls)].max() < 1e-6
    assert moved[mesh.balls[0][0]] > 0.003
    for ball in mesh.balls:
        np.testing.assert_allclose(aside[0, ball].numpy()[[0, -1]].mean(0), straight[ball][[0, -1]].mean(0), atol=1e-6)


def test_jaw_opens_the_lips(head, arrays):
    def gap(vertices: np.ndarray) -> float:
        at = points(arrays, vertices)
        return float(np.linalg.norm(at[62] - at[66]))

    assert gap(posed(head)) < 1e-4
    assert gap(posed(head, jaw=0.25)) > 0.015
    assert gap(posed(head, "lips_apart", 2.0)) > 0.004


def test_blink_closes_the_lids(head, arrays):
    def opening(vertices: np.ndarray) -> float:
        at = points(arrays, vertices)
        return float(np.mean([np.linalg.norm(at[u] - at[d]) for u, d in ((43, 47), (44, 46), (37, 41), (38, 40))]))

    opened = opening(posed(head))
    assert opened > 0.007
    assert opening(posed(head, "blink", modes.CLOSED)) < 0.1 * opened  # the lids meet, at slightly different depths
    assert 0.3 < opening(posed(head, "blink", modes.CLOSED / 2)) / opened < 0.7


# ---- modes


def test_shape_modes_are_orthogonal_and_fall(arrays):
    columns = arrays["shape_basis"].reshape(-1, 24).astype(np.float64)
    gram = columns.T @ columns
    variances = np.diag(gram)
    assert (np.diff(variances) <= 1e-9).all()
    assert abs(gram - np.diag(variances)).max() < 1e-5 * variances[0]
    assert variances[-1] > 0


def test_shape_modes_are_symmetric_smirk_is_not(arrays, mesh):
    flip = np.array([-1, 1, 1])[:, None]
    shapes, expressions = arrays["shape_basis"], arrays["expression_basis"]
    np.testing.assert_allclose(shapes[mesh.mirror] * flip, shapes, atol=1e-7)
    lopsided = abs(expressions[mesh.mirror] * flip - expressions).max((0, 1)) > 1e-5
    assert [name for name, odd in zip(arrays["expression_names"], lopsided, strict=True) if odd] == ["smirk"]


def test_nothing_folds_and_no_eyeball_pokes_through(arrays, mesh):
    skin = mesh.part == parts.SKIN
    faces = arrays["faces"]
    face = np.zeros(len(skin), bool)
    face[arrays["regions"]["face"]] = True
    faces = faces[(face & skin)[faces].all(1)]
    for basis in (arrays["shape_basis"], arrays["expression_basis"]):
        for k in range(basis.shape[2]):
            for sign in (-2, 2):
                vertices = arrays["template"] + sign * basis[:, :, k]
                assert turned(vertices, arrays["template"], faces) < 5
                for ball in mesh.balls:
                    centre = vertices[ball][[0, -1]].mean(0)
                    radius = np.linalg.norm(vertices[ball][0] - centre)
                    assert np.linalg.norm(vertices[skin] - centre, axis=1).min() > radius


def test_eyeballs_stay_spheres(arrays, mesh):
    for ball in mesh.balls:
        moves = arrays["shape_basis"][ball]
        np.testing.assert_allclose(moves, np.broadcast_to(moves[:1], moves.shape), atol=1e-7)
        assert abs(arrays["expression_basis"][ball]).max() == 0


# ---- landmarks


def test_landmarks_mirror(arrays):
    at = points(arrays, arrays["template"])
    np.testing.assert_allclose(at[landmarks.MIRROR] * [-1, 1, 1], at, atol=1e-6)
    np.testing.assert_allclose(arrays["landmark_weights"].sum(1), 1, atol=1e-6)
    assert arrays["landmark_weights"].min() >= 0


def test_landmarks_in_order(arrays):
    x, y, z = points(arrays, arrays["template"]).T
    assert (np.diff(x[:17]) > 0).all()  # the jaw, from image left to right
    assert y[:17].argmin() == 8
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) < 0).all()
    assert z.argmax() == 30  # the tip of the nose
    assert (np.diff(x[31:36]) > 0).all()
    assert x[36] < x[37] < x[38] < x[39] < x[42] < x[43] < x[44] < x[45]
    assert y[37] > y[41]
    assert y[44] > y[46]
    assert (np.diff(x[48:55]) > 0).all()
    assert (np.diff(x[54:60]) < 0).all()
    assert (np.diff(x[60:65]) > 0).all()
    assert y[17:27].min() > y[36:48].max() > y[36:48].min() > y[33] > y[51] > y[62] > y[57] > y[8]


def test_contour_follows_the_silhouette(arrays):
    """At 30 degrees no skin of the face lies beyond the points of the side that turns away; rows mirror each other."""
    corners = arrays["template"][arrays["faces"][arrays["contour_faces"]]]
    contour = (arrays["contour_weights"][..., None] * corners).sum(2)
    np.testing.assert_allclose(contour[0], points(arrays, arrays["template"])[:17], atol=1e-6)
    np.testing.assert_allclose(contour[40:, ::-1] * [-1, 1, 1], contour[1:40], atol=1e-6)
    cos, sin = np.cos(np.radians(30)), np.sin(np.radians(30))

    def across(p: np.ndarray) -> np.ndarray:
        return p[..., 0] * cos + p[..., 2] * sin  # image right of a head that is turned there

    far, still = contour[30, 11:16], contour[0, 11:16]
    assert (across(far) > across(still)).all()
    face = arrays["template"][arrays["regions"]["face"]]
    for point in far:
        level = face[(abs(face[:, 1] - point[1]) < 0.004) & (face[:, 0] > 0.025)]
        assert across(level).max() - across(point) < 0.004


# ---- texture


def test_texture_paints_what_it_says(arrays, mesh):
    """Melanin darkens skin only, hair modes hair only: read at the vertices."""
    uv = np.zeros((len(mesh.position), 2))
    uv[arrays["faces"]] = arrays["uv"][arrays["uv_faces"]]
    column, row = (np.clip((k * 64).astype(int), 0, 63) for k in (uv[:, 0], 1 - uv[:, 1]))
    change = dict(zip(arrays["texture_names"], abs(arrays["albedo_basis"]).sum(1)[:, row, column], strict=True))
    cheek = np.argmin(((mesh.position - [4.5, -3, 6.5]) ** 2).sum(1))
    crown, pupil = mesh.grid.crown, mesh.balls[0][0]
    assert change["melanin"][cheek] > 0.2 > 0.02 > change["melanin"][crown]
    assert change["melanin"][pupil] == 0
    assert change["hair_light"][crown] > 0.2 > 0.02 > change["hair_light"][cheek]
