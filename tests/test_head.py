"""The head model: against smplx on the same file, against finite differences, and by its invariants."""

import numpy as np
import pytest
import torch
from flame_layout import embedding, model, write_embeddings
from torch.func import jacfwd, vmap

from fgcli.errors import FgError
from fgcli.foreign.flame_files import mirrored_yaw
from fgcli.heads.head import Head, rotation_matrices

TURNED = {"f": "faces", "v_template": "template", "posedirs": "pose_basis", "weights": "weights"}


def head_of(raw, lmk, **more):
    """A Head straight from the arrays of the published files."""
    given = {ours: raw[theirs] for theirs, ours in TURNED.items()}
    given |= {"shape_basis": raw["shapedirs"][..., :300], "expression_basis": raw["shapedirs"][..., 300:]}
    given |= {"joint_regressor": raw["J_regressor"].toarray()}
    given |= {"landmark_faces": lmk["full_lmk_faces_idx"][0], "landmark_weights": lmk["full_lmk_bary_coords"][0]}
    given |= {"contour_faces": lmk["dynamic_lmk_faces_idx"], "contour_weights": lmk["dynamic_lmk_bary_coords"]}
    return Head(**given | more, name="flame")


@pytest.fixture(scope="module")
def raw():
    return model()


@pytest.fixture(scope="module")
def head(raw):
    lmk = embedding()
    lmk["full_lmk_faces_idx"][:, 17:] = lmk["static_lmk_faces_idx"]
    lmk["full_lmk_bary_coords"][:, 17:] = lmk["static_lmk_bary_coords"]
    return head_of(raw, lmk)


@pytest.fixture(scope="module")
def smplx_model(raw, tmp_path_factory):
    smplx = pytest.importorskip("smplx")
    folder = tmp_path_factory.mktemp("smplx")
    np.savez(folder / "FLAME_NEUTRAL.npz", **{k: v.toarray() if k == "J_regressor" else v for k, v in raw.items()})
    write_embeddings(folder, embedding())
    sizes = {"num_betas": 300, "num_expression_coeffs": 100, "batch_size": 4}
    return smplx.FLAME(str(folder), gender="neutral", ext="npz", use_face_contour=True, **sizes)


def coefficients(n=4, seed=0, shapes=300, expressions=100):
    rng = torch.Generator().manual_seed(seed)
    sizes, scales = (shapes, expressions, 6, 3, 6), (1, 1, 0.4, 0.3, 0.3)
    return [(torch.randn(n, k, generator=rng) * s).requires_grad_() for k, s in zip(sizes, scales, strict=True)]


def test_vertices_and_landmarks_are_those_of_smplx_in_value_and_gradient(head, smplx_model):
    shape, expression, pose, neck, eyes = given = coefficients()
    out = smplx_model(
        betas=shape,
        expression=expression,
        global_orient=pose[:, :3],
        jaw_pose=pose[:, 3:],
        neck_pose=neck,
        leye_pose=eyes[:, :3],
        reye_pose=eyes[:, 3:],
    )
    theirs, their_points = out.vertices, torch.cat([out.joints[:, 56:], out.joints[:, 5:56]], 1)
    ours = head.vertices(*given)
    points = head.landmarks(ours, pose)  # smplx leaves the neck out of the yaw
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(points, their_points, atol=1e-6, rtol=0)
    probe = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1)) / 100
    for of_ours, of_theirs in ((ours * probe, theirs * probe), (points, their_points)):
        gradients = [torch.autograd.grad(v.sum(), given, retain_graph=True) for v in (of_ours, of_theirs)]
        for a, b in zip(*gradients, strict=True):
            assert b.abs().max() > 1e-3
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_fewer_coefficients_are_zeros_and_what_is_beyond_the_basis_does_nothing(head):
    shape, expression, pose, _, _ = coefficients(shapes=10, expressions=5)
    padded = [torch.nn.functional.pad(x, (0, 500)) for x in (shape, expression)]
    zeros = torch.zeros(4, 3), torch.zeros(4, 6)
    assert torch.allclose(head.vertices(shape, expression, pose), head.vertices(*padded, pose, *zeros), atol=1e-6)
    assert head.vertices(torch.zeros(2, 0), torch.zeros(2, 0), torch.zeros(2, 6)).shape == (2, 5023, 3)


def test_one_person_in_many_poses(head):
    shape, expression, pose, _, _ = coefficients()
    many = head.vertices(shape[:1], expression, pose)
    assert torch.allclose(many[2:3], head.vertices(shape[:1], expression[2:3], pose[2:3]), atol=1e-6)


def test_gradients_by_finite_differences(head):
    double = head.landmark_head().double()
    shape, expression, pose, neck, _ = (x.detach().double() for x in coefficients(2, shapes=4, expressions=3))
    rows = double.contour_rows(pose, neck)
    given = [x.requires_grad_() for x in (shape, expression, pose, neck)]
    assert torch.autograd.gradcheck(lambda s, e, p, n: double.landmark_points(s, e, p, rows, n), given)
    assert torch.autograd.gradcheck(
        lambda s: double.normals(double.vertices(s, expression, pose))[:, :20], given[:1], atol=1e-4
    )


def test_gradients_are_finite_and_right_at_the_straight_pose(head):
    pose = torch.zeros(1, 6, requires_grad=True)
    points = head.vertices(torch.zeros(1, 1), torch.zeros(1, 1), pose)
    about_y = jacfwd(lambda p: head.vertices(torch.zeros(1, 1), torch.zeros(1, 1), p))(pose)[0, :, :, 0, 1]
    axis = torch.tensor([0.0, 1.0, 0.0]).expand(5023, 3)
    from_root = points[0] - head.joints(torch.zeros(1, 1), torch.zeros(1, 1))[0, 0]
    correctives = about_y - torch.linalg.cross(axis, from_root)
    assert correctives.abs().max() < 1e-5


def test_no_pose_is_the_template(head):
    zeros = torch.zeros(1, 300), torch.zeros(1, 100), torch.zeros(1, 6)
    assert torch.allclose(head.vertices(*zeros)[0], head.template, atol=1e-6)


def test_turning_the_root_moves_the_head_rigidly(head):
    shape, expression, pose, neck, eyes = (x.detach() for x in coefficients())
    still = pose.clone()
    still[:, :3] = 0
    root = head.joints(shape, expression)[:, :1]
    turned = (head.vertices(shape, expression, still, neck, eyes) - root) @ rotation_matrices(pose[:, :3]).mT + root
    assert torch.allclose(head.vertices(shape, expression, pose, neck, eyes), turned, atol=2e-6)


def test_a_vertex_of_the_jaw_turns_about_the_jaw_joint(raw):
    weights = np.zeros((5023, 5))
    weights[:, 2] = 1
    stiff = head_of(raw | {"weights": weights, "posedirs": 0 * raw["posedirs"]}, embedding())
    assert not stiff.corrects_pose
    shape, expression, pose, _, _ = (x.detach() for x in coefficients(1))
    pose[:, :3] = 0
    rest = stiff.vertices(shape, expression, torch.zeros(1, 6))
    joint = stiff.joints(shape, expression)[:, 2:3]
    opened = (rest - joint) @ rotation_matrices(pose[:, 3:]).mT + joint
    assert torch.allclose(stiff.vertices(shape, expression, pose), opened, atol=1e-6)


def test_rotations_are_those_of_scipy():
    from scipy.spatial.transform import Rotation

    vectors = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    wanted = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    assert torch.allclose(rotation_matrices(vectors), wanted, atol=1e-7)


@pytest.mark.parametrize("pose", [False, True])
def test_landmarks_without_the_other_vertices_are_the_same(head, pose):
    shape, expression, p, neck, _ = (x.detach() for x in coefficients())
    rows = head.contour_rows(p, neck) if pose else None
    wanted = head.landmarks(head.vertices(shape, expression, p, neck), p if pose else None, neck)
    small = head.landmark_head()
    assert len(small.template) < len(head.template)
    for way in (head, small):
        assert torch.allclose(way.landmark_points(shape, expression, p, rows, neck), wanted, atol=1e-6)
    again = small.landmarks(small.vertices(shape, expression, p, neck), p if pose else None, neck)
    assert torch.allclose(again, wanted, atol=1e-6)


def test_jacobians_of_a_batch(head):
    small = head.landmark_head()
    shape, expression, pose, _, _ = (x.detach() for x in coefficients(3, shapes=5, expressions=4))
    given, rows = torch.cat([shape, expression, pose], 1), small.contour_rows(pose)

    def points(x, row):
        return small.landmark_points(x[None, :5], x[None, 5:9], x[None, 9:], row[None])[0]

    batched = vmap(jacfwd(points))(given, rows)
    for i in range(3):
        one = torch.autograd.functional.jacobian(lambda x, i=i: points(x, rows[i]), given[i])
        assert torch.allclose(batched[i], one, atol=1e-5)
    whole = vmap(jacfwd(lambda x: head.normals(head.vertices(x[None, :5], x[None, 5:9], x[None, 9:]))[0]))
    assert whole(given[:1]).isfinite().all()


def test_the_jaws_outline_follows_the_yaw(head):
    degrees = torch.tensor([0.0, 1.4, 38.6, 90, -0.4, -1, -39, -80])
    pose = torch.zeros(8, 6)
    pose[:, 1] = degrees.deg2rad()
    assert head.contour_rows(pose).tolist() == [0, 1, 39, 39, 0, 40, 78, 78]
    assert head.contour_rows(torch.zeros(8, 6), pose[:, :3]).tolist() == [0, 1, 39, 39, 0, 40, 78, 78]
    pose[:, 1], pose[:, 0] = 0, degrees.deg2rad()
    assert not head.contour_rows(pose).any()
    table = np.r_[0:40, -1:-40:-1]
    assert np.array_equal(mirrored_yaw(table), -table)


def test_normals_of_a_ball_point_outwards():
    points = torch.nn.functional.normalize(torch.randn(400, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    from scipy.spatial import ConvexHull

    hull = ConvexHull(points.numpy())
    faces = hull.simplices.copy()
    a, b, c = (points.numpy()[faces[:, i]] for i in range(3))
    inwards = (np.cross(b - a, c - a) * a).sum(1) < 0
    faces[inwards] = faces[inwards, ::-1]
    basis = np.zeros((400, 3, 1))
    ball = Head(
        template=points,
        faces=faces,
        shape_basis=basis,
        expression_basis=basis,
        pose_basis=np.zeros((400, 3, 36)),
        joint_regressor=np.full((5, 400), 1 / 400),
        weights=np.eye(5)[np.zeros(400, int)],
    )
    normals = ball.normals(points[None])[0]
    assert torch.allclose(normals.norm(dim=1), torch.ones(400), atol=1e-6)
    assert (normals * points).sum(1).min() > 0.95
    turned = rotation_matrices(torch.tensor([0.3, 0.5, -0.2]))
    assert torch.allclose(ball.normals((3 * points @ turned.mT)[None])[0], normals @ turned.mT, atol=1e-5)
    flat = ball.normals(torch.zeros(1, 400, 3, requires_grad=True))
    flat.sum().backward()
    assert flat.isfinite().all()
    with pytest.raises(FgError, match="expected an embedding of 68 landmarks, found none; run fg assets import"):
        ball.landmarks(points[None])
    with pytest.raises(FgError, match="expected a texture, found none; run fg assets import"):
        ball.albedo(torch.zeros(1, 3))


def test_albedo(raw):
    rng = np.random.default_rng(0)
    mean, basis = rng.uniform(0.2, 0.8, (3, 4, 4)), rng.normal(0, 0.2, (5, 3, 4, 4))
    skin = head_of(raw, embedding(), albedo_mean=mean, albedo_basis=basis)
    code = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    wanted = (mean + np.einsum("nk,kchw->nchw", code.numpy(), basis)).clip(0, 1)
    assert torch.allclose(skin.albedo(code), torch.from_numpy(wanted).float(), atol=1e-6)
    assert torch.allclose(skin.albedo(torch.nn.functional.pad(code, (0, 45))), skin.albedo(code))
    assert torch.allclose(skin.albedo(code[:, :2]), skin.albedo(code * torch.tensor([1, 1, 0, 0, 0.0])), atol=1e-6)


def test_arrays_and_back(raw):
    whole = head_of(raw, embedding(), regions={"face": np.arange(7)}, expression_names=["smile"], notice="free")
    again = Head.from_arrays(whole.arrays(), whole.meta())
    assert again.meta() == whole.meta()
    assert again.regions["face"].tolist() == list(range(7))
    given = [x.detach() for x in coefficients()]
    assert torch.equal(whole.vertices(*given), again.vertices(*given))
    double = [x.double() for x in given]
    assert torch.allclose(whole.double().vertices(*double), again.vertices(*given).double(), atol=1e-5)
