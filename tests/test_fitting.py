"""Heads fitted to landmarks and pixels: closed forms, known parameters found again, and rows that fail by name."""

import os
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn import functional

from fgcli import artifacts, workers
from fgcli.artifacts import parts
from fgcli.datasets import procedural_heads
from fgcli.errors import FgError
from fgcli.faces.colour_cut import refine
from fgcli.faces.landmarks import MIRROR
from fgcli.fitting import appearance, extract
from fgcli.fitting.extraction import Extraction, drawing
from fgcli.fitting.landmark_errors import LandmarkErrors
from fgcli.fitting.landmark_fit import CAUCHY, POSE_SPREAD, LandmarkFit, frontal, residual
from fgcli.fitting.photometric_fit import UNITS, PhotometricFit, _pivot
from fgcli.fitting.regressor import MODES, Regressor, leading, surface_metric
from fgcli.fitting.views import FRAMING, axis_angle, between, photo_texture, turned
from fgcli.heads.camera import project, to_pixels
from fgcli.heads.centring import EYES, centred, eyeballs
from fgcli.heads.face_mask import face_field, face_mask
from fgcli.heads.head import JAW_POINTS, Head, rotation_matrices
from fgcli.heads.light import WHITE, basis, directional
from fgcli.heads.parameters import SIZES, Parameters
from fgcli.heads.render import render
from fgcli.objectives.head_regression import HeadRegression, spoil
from fgcli.procedural.population import BEARDED, MOST, Population

N, SIZE = 6, 48


def people(head: Head, n: int = N, seed: int = 0) -> Parameters:
    """Random people, each in a moment of its own."""
    population = Population()
    drawn = [np.random.default_rng([seed, i]) for i in range(n)]
    return population.parameters(
        head, [population.person(head, rng) for rng in drawn], [population.moment(head, rng) for rng in drawn]
    )


@pytest.fixture(scope="module")
def known(head) -> SimpleNamespace:
    """Six people: their parameters p, landmarks in [-1, 1], renders, and masks."""
    p = people(head)
    drawn = drawing(head, p, SIZE)
    marks = residual(head, p, torch.zeros(N, 68, 2))[0]
    return SimpleNamespace(p=p, marks=marks, drawn=drawn, images=drawn.image.clamp(0, 1), face=face_mask(head, drawn))


def surface_error(head: Head, a: Parameters, b: Parameters) -> torch.Tensor:
    """Distance of the faces' vertices after scaling and shifting, % of the head's height."""
    face = torch.from_numpy(head.regions["face"])
    x, y = (head.vertices(p.shape, p.expression, torch.zeros_like(p.pose))[:, face] for p in (a, b))
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
    scale = (x * y).sum((1, 2)) / x.square().sum((1, 2))
    height = head.template[:, 1].max() - head.template[face, 1].min()
    return 100 * (x * scale[:, None, None] - y).square().sum(2).mean(1).sqrt() / height


def rotation_error(a: Parameters, b: Parameters) -> torch.Tensor:
    """Angle between the heads' rotations, degrees."""
    between = (rotation_matrices(a.pose[:, :3]).double() @ rotation_matrices(b.pose[:, :3]).double().mT).float()
    return axis_angle(between).norm(dim=1).rad2deg()


def mirrored(marks: torch.Tensor) -> torch.Tensor:
    """Landmarks of the mirror image."""
    return marks[:, MIRROR.tolist()] * torch.tensor([-1.0, 1.0])


# ---- centring


def test_a_centred_camera_is_the_least_squares_one_of_the_eyes(head):
    p = people(head, 1).replace(pose=torch.zeros(1, 6))
    camera = centred(head, p.shape, p.expression, p.pose, 0.8)[0]
    x, y = eyeballs(head, p.shape, p.expression, p.pose)[0, :, :2].double().numpy().T
    left = np.block(
        [[x[:, None], np.ones((2, 1)), np.zeros((2, 1))], [-y[:, None], np.zeros((2, 1)), -np.ones((2, 1))]]
    )
    s, a, b = np.linalg.lstsq(left, (EYES / 0.8).T.reshape(-1).double().numpy(), rcond=None)[0]
    np.testing.assert_allclose(camera, [s, a / s, b / s], rtol=1e-4, atol=1e-6)


def test_a_turned_head_has_the_frontal_scale_and_its_eyes_in_place(head, known):
    p = known.p
    camera = centred(head, p.shape, p.expression, p.pose, 0.8)
    frontal_scale = centred(head, p.shape, p.expression, torch.zeros_like(p.pose), 0.8)[:, 0]
    torch.testing.assert_close(camera[:, 0], frontal_scale)
    seen = project(eyeballs(head, p.shape, p.expression, p.pose), camera)[..., :2].mean(1)
    torch.testing.assert_close(seen, (EYES.mean(0) / 0.8).expand(N, 2), atol=1e-5, rtol=0)
    wide = centred(head, p.shape, p.expression, p.pose, 1.6)
    torch.testing.assert_close(2 * wide[:, 0], camera[:, 0])


def test_eyeballs_are_where_their_vertices_are(head, known):
    p = known.p
    vertices = head.vertices(p.shape, p.expression, p.pose)
    middles = [vertices[:, head.regions[f"{side}_eyeball"]] for side in ("left", "right")]
    middles = torch.stack([(m.amin(1) + m.amax(1)) / 2 for m in middles], 1)
    torch.testing.assert_close(eyeballs(head, p.shape, p.expression, p.pose), middles, atol=0.003, rtol=0)


def test_people_are_drawn_within_bounds_and_the_same_from_the_same_seed(head):
    p, again = people(head, 150), people(head, 150)
    assert all(torch.equal(a, b) for a, b in zip(vars(p).values(), vars(again).values(), strict=True))
    beards = p.texture[:, head.texture_names.index("beard")]
    assert BEARDED / 2 < (beards >= MOST).float().mean() < 2 * BEARDED
    assert p.shape.abs().max() <= MOST
    assert not p.shape[:, head.shape_basis.shape[2] :].any()
    assert p.pose[:, 1].abs().max() <= Population.yaw
    assert p.pose[:, 1].std() > Population.yaw / 3
    blinks = p.expression[:, head.expression_names.index("blink")]
    assert 0.03 < (blinks > 1.5).float().mean() < 0.25


# ---- landmarks


def test_exact_landmarks_give_the_parameters_back(head, known):
    fit = LandmarkFit(sigma=0.0005, steps=30)(head, known.marks, frontal(head, known.marks))
    assert surface_error(head, fit, known.p).max() < 0.15
    assert rotation_error(fit, known.p).max() < 0.1
    assert residual(head, fit, known.marks)[1].max() < 2e-4
    torch.testing.assert_close(fit.camera, known.p.camera, rtol=0.01, atol=0.002)


def test_a_fit_with_the_usual_noise_beats_the_mean_head(head, known):
    fit = LandmarkFit()(head, known.marks, frontal(head, known.marks))
    before = surface_error(head, Parameters.zeros(N), known.p)
    assert (surface_error(head, fit, known.p) < 0.8 * before).all()
    assert surface_error(head, fit, known.p).mean() < 0.6 * before.mean()
    assert rotation_error(fit, known.p).max() < 2


def test_two_wild_landmarks_hardly_move_the_fit(head, known):
    wild = known.marks.clone()
    wild[:, [30, 50]] += torch.tensor([0.5, -0.4])
    fits = [LandmarkFit()(head, marks, frontal(head, marks)) for marks in (known.marks, wild)]
    assert surface_error(head, *fits).max() < 0.15
    assert rotation_error(*fits).max() < 1
    own = [residual(head, fit, known.marks)[0] for fit in fits]
    assert (own[0] - own[1]).norm(dim=2).max() < 0.02  # of a move by 0.64


def test_coefficients_stay_at_the_mean_where_landmarks_say_little(head, known):
    start = frontal(head, known.marks)
    vague = LandmarkFit(sigma=50.0)(head, known.marks, start)
    assert torch.cat([vague.shape, vague.expression, vague.pose], 1).abs().max() < 0.02
    sure = LandmarkFit()(head, known.marks, start)
    assert sure.shape.norm(dim=1).mean() < known.p.shape.norm(dim=1).mean()  # drawn to the mean, not beyond the truth


def test_a_fit_moves_only_its_modes_and_keeps_texture_and_light(head, known):
    start = frontal(head, known.marks).replace(texture=known.p.texture, light=known.p.light)
    fit = LandmarkFit(shape=5, expression=2)(head, known.marks, start)
    assert fit.shape[:, :5].any()
    assert fit.expression[:, :2].any()
    assert not fit.shape[:, 5:].any()
    assert not fit.expression[:, 2:].any()
    assert torch.equal(fit.texture, known.p.texture)
    assert torch.equal(fit.light, known.p.light)


def test_faces_of_a_batch_are_fitted_apart(head, known):
    whole = LandmarkFit()(head, known.marks, frontal(head, known.marks))
    one = LandmarkFit()(head, known.marks[2:3], frontal(head, known.marks[2:3]))
    torch.testing.assert_close(one.to_vector("gif"), whole.rows([2]).to_vector("gif"), atol=1e-4, rtol=1e-4)


def test_mirrored_landmarks_give_the_mirrored_head(head, known):
    other = mirrored(known.marks)
    fits = [LandmarkFit()(head, marks, frontal(head, marks)) for marks in (known.marks, other)]
    own = [residual(head, fit, marks)[0] for fit, marks in zip(fits, (known.marks, other), strict=True)]
    torch.testing.assert_close(mirrored(own[1]), own[0], atol=0.01, rtol=0)  # one mode, smirk, has but one side
    torch.testing.assert_close(fits[1].pose[:, 0], fits[0].pose[:, 0], atol=0.01, rtol=0)
    torch.testing.assert_close(fits[1].pose[:, 1:3], -fits[0].pose[:, 1:3], atol=0.01, rtol=0)
    torch.testing.assert_close(fits[1].camera[:, 0], fits[0].camera[:, 0], rtol=0.01, atol=0)


def test_frontal_finds_the_camera_of_the_mean_head(head):
    camera = torch.tensor([[9.0, 0.01, -0.02], [4.0, -0.03, 0.05]])
    p = Parameters.zeros(2).replace(camera=camera)
    start = frontal(head, project(head.landmark_points(p.shape, p.expression, p.pose), camera)[..., :2])
    torch.testing.assert_close(start.camera, camera, rtol=1e-4, atol=1e-6)
    assert not torch.cat([start.shape, start.expression, start.pose], 1).any()


def test_residuals_are_distances_of_inner_landmarks_in_outer_eye_distances(head, known):
    moved = known.marks.clone()
    moved[:, :JAW_POINTS] += 1  # nobody counts these
    moved[:, JAW_POINTS:] += torch.tensor([0.03, 0.04])
    own, off = residual(head, known.p, moved)
    assert torch.equal(own, known.marks)
    eyes = (known.marks[:, 36] - known.marks[:, 45]).norm(dim=1)
    torch.testing.assert_close(off, 0.05 / eyes, rtol=1e-4, atol=0)


# ---- an analyser's errors


def sliding(n: int = 1) -> torch.Tensor:
    """Covariance (n, 136, 136) of an analyser whose jaw and whose brows and eyes slide as a whole, by 0.05 (1 sd)."""
    jaw, upper = (torch.zeros(68, 2, dtype=torch.float64) for _ in range(2))
    jaw[:JAW_POINTS], upper[17:27], upper[36:48] = 1, 1, 1
    parts = torch.stack([jaw, upper])[..., None] * torch.eye(2, dtype=torch.float64)  # along x, and along y
    modes = parts.movedim(3, 1).reshape(4, 136)
    return (0.05**2 * modes.mT @ modes + 0.004**2 * torch.eye(136, dtype=torch.float64)).expand(n, -1, -1)


def drawn_errors(covariance: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """(n, 68, 2), Gaussian."""
    rng = torch.Generator().manual_seed(seed)
    seeds = torch.randn(len(covariance), 136, 1, generator=rng, dtype=torch.float64)
    return (torch.linalg.cholesky(covariance) @ seeds).unflatten(1, (68, 2))[..., 0].float()


def test_errors_of_a_known_covariance_are_allowed_for(head):
    p, covariance = people(head, 24, seed=5), sliding(24)
    true = residual(head, p, torch.zeros(24, 68, 2))[0]
    found = true + drawn_errors(covariance)
    start = frontal(head, found)
    plain = LandmarkFit()(head, found, start)
    told = LandmarkFit(sigma=0.004)(head, found, start, covariance=covariance)
    blind = LandmarkFit(sigma=0.004)(  # knows how large they are, but not that they go together
        head, found, start, covariance=torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
    )
    for other in (plain, blind):
        assert surface_error(head, told, p).mean() < 0.8 * surface_error(head, other, p).mean()
        assert rotation_error(told, p).mean() < 0.8 * rotation_error(other, p).mean()


def test_an_error_of_each_landmark_alone_is_one_more_sigma(head, known):
    wild = known.marks.clone()
    wild[:, [30, 50]] += torch.tensor([0.5, -0.4])
    start = frontal(head, wild)
    weight = torch.ones(68, dtype=torch.float64)
    weight[:JAW_POINTS] = LandmarkFit.jaw
    alone = (0.03 / weight).square().repeat_interleave(2).diag().expand(N, -1, -1)
    one = LandmarkFit(sigma=0.05)(head, wild, start)
    two = LandmarkFit(sigma=0.04)(head, wild, start, covariance=alone)
    torch.testing.assert_close(two.to_vector("gif"), one.to_vector("gif"), atol=1e-5, rtol=1e-5)


def test_a_fit_ends_where_cauchys_loss_is_least(head, known):
    """The reference: the loss of the docstring, its gradient by autograd, at what the fit returns."""
    found = known.marks + 0.03 * torch.randn(N, 68, 2, generator=torch.Generator().manual_seed(0))
    found[:, 33] += 0.3
    fit, small = LandmarkFit(steps=60)(head, found, frontal(head, found)), head.landmark_head().double()
    weight = torch.ones(68, 1, dtype=torch.float64)
    weight[:JAW_POINTS] = LandmarkFit.jaw
    pose_spread = torch.tensor(POSE_SPREAD, dtype=torch.float64)
    unknown = [getattr(fit, k).double() for k in ("camera", "pose", "shape", "expression")]
    rows = small.contour_rows(unknown[1])

    def loss(camera, pose, shape, expression):
        r = (project(small.landmark_points(shape, expression, pose, rows), camera)[..., :2] - found) * weight
        data = CAUCHY**2 * (r.square().sum(2) / (LandmarkFit.sigma * CAUCHY) ** 2).log1p().sum()
        return data + (pose / pose_spread).square().sum() + shape.square().sum() + expression.square().sum()

    slopes = torch.autograd.functional.jacobian(loss, tuple(unknown))
    k, e = head.shape_basis.shape[2], head.expression_basis.shape[2]
    for slope, most in zip((slopes[1], slopes[2][:, :k], slopes[3][:, :e]), (0.1, 0.01, 0.01), strict=True):
        assert slope.abs().max() < most


def test_a_wild_landmark_tells_nothing_of_those_that_err_with_it(head, known):
    start, covariance = frontal(head, known.marks), sliding(N)
    wild = known.marks.clone()
    wild[:, [8, 37]] += torch.tensor([0.5, -0.4])
    fits = [LandmarkFit()(head, marks, start, covariance=covariance) for marks in (known.marks, wild)]
    own = [residual(head, fit, known.marks)[0] for fit in fits]
    assert (own[0] - own[1]).norm(dim=2).max() < 0.02  # of a move by 0.64
    assert rotation_error(*fits).max() < 1


def test_bias_is_measured_and_taken_off_at_any_angle_and_scale():
    rng = torch.Generator().manual_seed(0)
    face = torch.rand(68, 2, generator=rng, dtype=torch.float64)
    found = face + 0.1 * torch.randn(40, 68, 2, generator=rng, dtype=torch.float64)
    bias = 0.05 * torch.randn(3, 68, 2, generator=rng, dtype=torch.float64)
    errors = LandmarkErrors(bias, LandmarkErrors.none().covariance)
    true = errors.corrected(found)
    assert (true - found).abs().mean() > 0.005
    measured = LandmarkErrors.of(found, true)
    torch.testing.assert_close(measured.bias, bias)
    assert measured.covariance.abs().max() < 1e-20
    c, s = 1.7 * np.cos(0.4), 1.7 * np.sin(0.4)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    torch.testing.assert_close(errors.corrected(found @ turn.T + 3), true @ turn.T + 3)


def test_bias_lies_along_the_eyes_and_down():
    marks = torch.zeros(1, 68, 2)
    marks[0, 36], marks[0, 45], marks[0, 0], marks[0, 16] = (
        torch.tensor(x) for x in ([1.0, 1], [3.0, 1], [0.0, 2], [4.0, 2])
    )
    marks[0, 27] = torch.tensor([2.0, 1])
    bias = torch.zeros(3, 68, 2)
    bias[0, 33] = torch.tensor([0.1, 0.2])
    errors = LandmarkErrors(bias, LandmarkErrors.none().covariance)
    torch.testing.assert_close((marks - errors.corrected(marks))[0, 33], torch.tensor([0.2, 0.4]))


def test_covariance_is_measured_and_turns_with_the_face():
    rng = torch.Generator().manual_seed(0)
    face = 40 * torch.rand(68, 2, generator=rng, dtype=torch.float64)
    across = face[45] - face[36]
    axes = torch.stack([across, torch.stack([-across[1], across[0]])], 1)
    own = sliding()[0]
    off = torch.linalg.cholesky(own) @ torch.randn(136, 4000, generator=rng, dtype=torch.float64)
    still = torch.tensor([0, 16, 27, 36, 45])  # the frame and the turn are those of the face
    off = off.T.unflatten(1, (68, 2)).index_fill(1, still, 0.0)
    measured = LandmarkErrors.of(face.expand(4000, -1, -1), face - off @ axes.mT)
    moved = [i for i in range(136) if i // 2 not in still.tolist()]
    torch.testing.assert_close(
        measured.covariance[moved][:, moved], own[moved][:, moved], atol=0.1 * float(own.max()), rtol=0
    )
    errors = LandmarkErrors(measured.bias, own)
    noise = drawn_errors(own.expand(2000, -1, -1)).double() @ axes.mT
    seen = noise.flatten(1).mT @ noise.flatten(1) / 2000
    torch.testing.assert_close(errors.around(face[None])[0], seen, atol=0.1 * float(seen.abs().max()), rtol=0)


# ---- light and albedo


def painted_once(head: Head) -> Head:
    """The head with the mean albedo and no other."""
    arrays = head.arrays()
    return Head.from_arrays(arrays | {"albedo_basis": np.zeros_like(arrays["albedo_basis"])}, head.meta())


def test_light_on_a_known_albedo_is_the_least_squares_one(head, known, monkeypatch):
    plain = painted_once(head)
    drawn = drawing(plain, known.p, SIZE)
    noisy = drawn.image + 0.02 * torch.randn(drawn.image.shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(appearance, "LIGHT_SPREAD", (1e4,) * 9)
    found = appearance.solve(plain, drawn.image, drawn, known.face, known.p)
    torch.testing.assert_close(found.light, known.p.light, atol=0.01, rtol=0)
    found = appearance.solve(plain, noisy, drawn, known.face, known.p, steps=1).light  # all pixels trusted alike
    for i in range(N):
        on = known.face[i, 0] > 0
        y = basis(drawn.normals[i].movedim(0, -1)[on]).double().numpy()
        for c in range(3):
            seen = drawn.albedo[i, c][on].double().numpy()
            want = np.linalg.lstsq(y * seen[:, None], noisy[i, c][on].double().numpy(), rcond=None)[0]
            assert np.abs(seen[:, None] * y @ (found[i, :, c].double().numpy() - want)).max() < 0.05


def test_a_step_is_the_ridge_solution(known):
    rng = torch.Generator().manual_seed(0)
    k, p = 4, 50
    of_texture, of_light = torch.randn(2, k, 3, p, generator=rng), torch.randn(2, 3, 9, p, generator=rng)
    rest, weight = torch.randn(2, 3, p, generator=rng), torch.rand(2, p, generator=rng)
    pull = torch.randn(2, k + 27, generator=rng)
    found = appearance._step(of_texture, of_light, rest, weight, pull)
    spread = np.concatenate([np.ones(k), np.tile(appearance.LIGHT_SPREAD, 3)])
    for i in range(2):
        x = np.zeros((3, p, k + 27))
        x[:, :, :k] = of_texture[i].permute(1, 2, 0)
        for c in range(3):
            x[c, :, k + 9 * c : k + 9 * c + 9] = of_light[i, c].T
        root = np.sqrt(np.tile(weight[i].double().numpy(), 3))
        tall = np.concatenate([x.reshape(3 * p, -1) * root[:, None], np.diag(1 / spread)])
        goal = np.concatenate([rest[i].flatten().double().numpy() * root, pull[i].double().numpy() / spread])
        np.testing.assert_allclose(found[i], np.linalg.lstsq(tall, goal, rcond=None)[0], atol=1e-3)


def test_the_tone_of_the_skin_is_told_from_the_light(head):
    population, n = Population(), 24
    people = [population.person(head, np.random.default_rng([7, i])) for i in range(n)]
    moments = [population.moment(head, np.random.default_rng([8, i])) for i in range(n)]
    p = population.parameters(head, people, moments)
    drawn = drawing(head, p, SIZE)
    found = appearance.solve(head, drawn.image.clamp(0, 1), drawn, face_mask(head, drawn), p)
    melanin = head.texture_names.index("melanin")
    assert np.corrcoef(found.texture[:, melanin], p.texture[:, melanin])[0, 1] > 0.8


def test_light_and_albedo_explain_a_render(head, known):
    start = known.p.replace(texture=torch.zeros_like(known.p.texture), light=torch.zeros_like(known.p.light))
    found = appearance.solve(head, known.images, known.drawn, known.face, start)
    again = drawing(head, found, SIZE)
    error = ((again.image - known.images) * known.face).square().sum((1, 2, 3)) / (3 * known.face.sum((1, 2, 3)))
    assert error.sqrt().max() < 0.02
    assert found.texture.abs().max() < 4
    for name in ("shape", "expression", "pose", "camera"):
        assert torch.equal(getattr(found, name), getattr(known.p, name))


def test_with_nothing_to_see_light_is_the_expected_one_and_albedo_the_mean(head, known):
    found = appearance.solve(head, known.images, known.drawn, torch.zeros_like(known.face), known.p)
    torch.testing.assert_close(found.light, appearance.LIGHT.expand(N, 9, 3))
    assert found.texture.abs().max() < 1e-6


def test_what_covers_a_face_hardly_changes_its_light(head, known):
    covered = known.images.clone()
    covered[:, :, SIZE // 2 : SIZE // 2 + 6] = torch.tensor([0.1, 0.9, 0.1])[:, None, None]  # an eighth of the picture
    clean, found = (appearance.solve(head, x, known.drawn, known.face, known.p) for x in (known.images, covered))
    shadings = [(basis(known.drawn.normals.movedim(1, -1)).flatten(1, 2) @ p.light) for p in (clean, found)]
    on = known.face.flatten(1)[..., None] > 0
    off = torch.where(on, shadings[0] - shadings[1], 0.0).abs().sum((1, 2)) / (3 * on.sum((1, 2)))
    assert off.max() < 0.1


def test_a_grey_photo_gives_a_grey_light_and_no_hue(head, known):
    grey = known.images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    mixed = torch.cat([grey[:3], known.images[3:]])
    assert appearance.is_grey(mixed, known.face).tolist() == [True] * 3 + [False] * 3
    p = appearance.solve(head, mixed, known.drawn, known.face, known.p)
    of_hue = appearance.hues(head)
    assert 0 < of_hue.sum() < len(of_hue)
    assert not p.texture[:3, : len(of_hue)][:, of_hue].any()
    assert p.texture[3:, : len(of_hue)][:, of_hue].any()
    light = p.light[:3]
    torch.testing.assert_close(light, light.mean(2, keepdim=True).expand_as(light), atol=1e-3, rtol=0)
    assert p.light[3:].std(2).max() > 0.02
    skin = photo_texture(head, mixed, known.face, p, 64)
    assert torch.equal(skin[:3], skin[:3, :1].expand(-1, 3, -1, -1))
    assert skin[3:].std(1).max() > 0.02


def test_colour_behind_a_grey_face_does_not_count(known):
    grey = known.images.mean(1, keepdim=True)
    colourful = torch.tensor([0.9, 0.1, 0.1])[None, :, None, None]
    assert appearance.is_grey(torch.where(known.face > 0, grey, colourful), known.face).all()


# ---- pixels


@pytest.fixture(scope="module")
def perturbed(head, known) -> Parameters:
    """Known parameters, somewhat wrong in shape and pose."""
    rng, k = torch.Generator().manual_seed(0), head.shape_basis.shape[2]
    shape = functional.pad(0.6 * torch.randn(N, k, generator=rng), (0, SIZES["shape"] - k))
    pose = functional.pad(0.05 * torch.randn(N, 3, generator=rng), (0, 3))
    return known.p.replace(shape=known.p.shape + shape, pose=known.p.pose + pose)


@pytest.mark.parametrize("with_landmarks", [True, False])
def test_pixels_draw_a_perturbed_head_to_the_truth(head, known, perturbed, with_landmarks):
    marks = known.marks if with_landmarks else None
    fit = PhotometricFit()(head, known.images, known.face, marks, perturbed)
    before, after = (surface_error(head, p, known.p).mean() for p in (perturbed, fit))
    assert after < 0.6 * before
    assert (rotation_error(fit, known.p) < 0.5 * rotation_error(perturbed, known.p)).all()
    assert not fit.to_vector("gif").requires_grad


def test_a_head_that_turns_stays_in_the_picture(head, known):
    """The steps are in turns about the face's middle: the camera undoes what the root joint's place does to it."""
    fit = PhotometricFit(shape=0, expression=0)
    unknown = {k: torch.zeros_like(getattr(known.p, k)) for k in UNITS}
    unknown["pose"][:, :3] = torch.tensor([1.0, -2.0, 1.5])
    moved = fit._moved(known.p, unknown, _pivot(head))
    assert rotation_error(moved, known.p).min() > 10
    middles = [residual(head, p, known.marks)[0][:, JAW_POINTS:].mean(1) for p in (known.p, moved)]
    assert (middles[0] - middles[1]).norm(dim=1).max() < 0.03
    left = moved.replace(camera=known.p.camera)
    assert (residual(head, left, known.marks)[0][:, JAW_POINTS:].mean(1) - middles[0]).norm(dim=1).min() > 0.2


def test_only_pixels_of_the_face_count(head, known, perturbed):
    noise = torch.rand(known.images.shape, generator=torch.Generator().manual_seed(0))
    other = torch.where(known.face > 0, known.images, noise)
    fits = [PhotometricFit(steps=3)(head, x, known.face, None, perturbed) for x in (known.images, other)]
    assert torch.equal(fits[0].to_vector("gif"), fits[1].to_vector("gif"))
    assert not torch.equal(fits[0].shape, perturbed.shape)


def test_modes_that_may_not_move_stay(head, known, perturbed):
    fit = PhotometricFit(shape=3, expression=2, texture=1, steps=3)(head, known.images, known.face, None, perturbed)
    for name, moved in (("shape", 3), ("expression", 2), ("texture", 1)):
        assert torch.equal(getattr(fit, name)[:, moved:], getattr(perturbed, name)[:, moved:])
        assert not torch.equal(getattr(fit, name)[:, :moved], getattr(perturbed, name)[:, :moved])
    none = PhotometricFit(steps=0)(head, known.images, known.face, None, perturbed)
    torch.testing.assert_close(none.to_vector("gif"), perturbed.to_vector("gif"))


# ---- the face on the head


def test_the_face_is_without_ears_and_neck_and_reaches_from_hairline_to_chin(head):
    field = face_field(head)
    for name in ("left_ear", "right_ear", "neck"):
        assert (field[head.regions[name]] < 0).all(), name
    for name in ("nose", "lips", "left_eyeball", "right_eyeball"):
        seen = head.regions[name]
        front = head.template[seen, 2] > head.template[seen, 2].median()
        assert (field[seen][front] > 0).all(), name
    marks = head.landmarks(head.template[None])[0]
    on = head.template[field > 0]
    chin, brows, nose, eyes = marks[8, 1], marks[17:27, 1].max(), marks[33, 1], marks[36:48, 1].mean()
    assert abs(on[:, 1].min() - chin) < 0.01
    assert brows + 0.01 < on[:, 1].max() < eyes + 1.9 * (eyes - nose)


def test_the_face_of_a_symmetric_head_is_symmetric(head):
    p = Parameters.zeros(1).replace(light=WHITE[None])
    p = p.replace(camera=centred(head, p.shape, p.expression, p.pose, 0.8))
    p.camera[:, 1] = 0
    mask = face_mask(head, drawing(head, p, 96))[0, 0] > 0
    assert (mask ^ mask.flip(1)).sum() < 0.01 * mask.sum()
    assert 0.3 < mask.float().mean() < 0.7


def test_the_mask_of_a_turned_head_lies_on_it_and_loses_the_far_side(head):
    pose = torch.zeros(2, 6)
    pose[:, 1] = torch.tensor([0.6, -0.6])
    p = Parameters.zeros(2).replace(pose=pose)
    p = p.replace(camera=centred(head, p.shape, p.expression, pose, 0.8))
    drawn = drawing(head, p, 96)
    mask = face_mask(head, drawn)
    assert set(mask.unique().tolist()) == {0, 1}
    assert (drawn.mask[mask > 0] == 1).all()
    both = (mask[0, 0] > 0, mask[1, 0].flip(1) > 0)
    assert (both[0] & both[1]).sum() > 0.95 * (both[0] | both[1]).sum()
    frontal_mask = face_mask(head, drawing(head, p.replace(pose=0 * pose), 96))
    assert mask[0].sum() < 0.95 * frontal_mask[0].sum()


# ---- a mask's edge by colour


def disc(size: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return (columns - x) ** 2 + (rows - y) ** 2 < radius**2


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def test_colours_move_an_edge_to_the_true_one():
    true, rng = disc(64, 31, 32, 20), np.random.default_rng(0)
    image = np.where(true[..., None], (200, 150, 120), (90, 110, 140)) + rng.normal(0, 12, (64, 64, 3))
    image = image.clip(0, 255).astype(np.uint8)
    for guess in (disc(64, 31, 32, 23), disc(64, 33, 30, 18)):
        found = refine(image, guess, 5.0)
        assert overlap(guess, true) < 0.85
        assert overlap(found, true) > 0.97
        np.testing.assert_array_equal(found, refine(image, guess, 5.0))
    np.testing.assert_array_equal(refine(image[:, ::-1], guess[:, ::-1], 5.0)[:, ::-1], found)


def test_colours_move_an_edge_by_no_more_than_the_band():
    true, guess = disc(64, 31, 32, 20), disc(64, 31, 32, 26)
    image = np.where(true[..., None], (200, 150, 120), (90, 110, 140)).astype(np.uint8)
    found = refine(image, guess, 3.0)
    assert not (found & ~disc(64, 31, 32, 29.5)).any()
    assert (found | ~disc(64, 31, 32, 22.5)).all()
    assert overlap(found, true) > overlap(guess, true)


def test_a_mask_without_inside_or_outside_is_returned_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    for mask in (np.zeros((32, 32), bool), np.ones((32, 32), bool), disc(32, 16, 16, 2)):
        np.testing.assert_array_equal(refine(image, mask, 3.0), mask)


# ---- the regressor


def test_answers_and_parameters_are_inverse_to_each_other(head, known):
    network = Regressor(leading(head), 4)
    network.standardise(known.p)
    answer = network.answer_of(known.p)
    assert answer.shape == (N, sum(network.sizes.values()))
    torch.testing.assert_close(
        network.parameters_of(answer).to_vector("gif"), known.p.to_vector("gif"), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(network.answer_of(network.parameters_of(answer)), answer, atol=1e-3, rtol=1e-3)
    varies = answer.std(0) > 0.5
    torch.testing.assert_close(answer.mean(0), torch.zeros(len(varies)), atol=1e-3, rtol=0)
    torch.testing.assert_close(answer.std(0)[varies], torch.ones(int(varies.sum())), atol=0.1, rtol=0)
    assert not answer.std(0)[~varies].any()  # the jaw turns in no other way
    network.standardise(known.p.rows([0]))
    assert (network.spread > 0).all()
    assert not network.answer_of(known.p.rows([0])).any()  # one row is its own mean


def test_at_most_the_leading_modes_are_predicted(head):
    sizes = leading(head)
    assert sizes["shape"] == min(MODES, head.shape_basis.shape[2])
    assert {k: sizes[k] for k in ("pose", "camera", "light")} == {"pose": 6, "camera": 3, "light": 27}
    many = SimpleNamespace(shape_basis=torch.zeros(1, 3, 300), expression_basis=torch.zeros(1, 3, 100), albedo_basis=[])
    assert leading(many) == sizes | {"shape": MODES, "expression": MODES, "texture": 0}
    p = Regressor({"shape": 2, "light": 27}).parameters_of(torch.ones(1, 29))
    assert (p.shape.sum(), p.light.sum(), p.expression.sum()) == (2, 27, 0)


def test_pictures_of_any_side_are_understood(known):
    network = Regressor({"shape": 4}, 4).eval()
    small = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(
            network(functional.interpolate(small, scale_factor=2)), network(small), atol=0.05, rtol=0.1
        )
        assert network(small[..., :16, :16]).shape == (2, 4)


def test_a_regressor_of_another_head_is_refused(head, regressor):
    other = painted_once(head)
    shifted = Head.from_arrays(other.arrays() | {"template": other.template.numpy() * 1.01}, other.meta())
    with pytest.raises(
        FgError, match=r"regressor.h5: expected a regressor of this head, .*; train one on its"
    ) as error:
        extract.Regress(shifted, regressor, 0.8)
    assert "\n" not in str(error.value)


def test_a_regressor_sees_crops_as_tight_as_those_it_knows(head, regressor, known):
    extractor = extract.Regress(head, regressor, 0.8)
    seen = []

    class Spy(Regressor):
        def forward(self, images):
            seen.append(images)
            return self.answer_of(known.p)

    extractor.network.__class__ = Spy
    extractor.guess(known.images, known.marks)
    wide = extract.Regress(head, regressor, 1.2)
    wide.network.__class__ = Spy
    out = known.p.camera * torch.tensor([0.8 / 1.2, 1.0, 1.0])
    wider = drawing(head, known.p.replace(camera=out), 2 * SIZE)
    guess = wide.guess(wider.image.clamp(0, 1), known.marks)
    torch.testing.assert_close(guess.camera, out, rtol=1e-3, atol=1e-4)
    same = functional.interpolate(seen[1], (SIZE, SIZE), mode="area")
    inside = -functional.max_pool2d(-known.drawn.mask, 5, 1, 2) > 0
    assert ((same - seen[0]).abs().mean(1, keepdim=True)[inside]).mean() < 0.05


def test_the_surface_term_is_the_distance_of_the_faces_vertices(head, known):
    k, e = head.shape_basis.shape[2], head.expression_basis.shape[2]
    metric = surface_metric(head, k, e)
    face = torch.from_numpy(head.regions["face"])
    off = torch.cat([known.p.shape[:, :k], known.p.expression[:, :e]], 1)
    moved = torch.einsum("vcm,nm->nvc", torch.cat([head.shape_basis, head.expression_basis], 2)[face], off)
    height = head.template[:, 1].max() - head.template[face, 1].min()
    want = (100 * moved / height).square().sum(2).mean(1)
    torch.testing.assert_close(torch.einsum("ni,ij,nj->n", off, metric, off), want, rtol=1e-3, atol=1e-6)


def test_a_perfect_guess_costs_nothing(head, known):
    class Oracle(Regressor):
        def forward(self, images):
            return self.answer_of(known.p)

    network = Oracle(leading(head), 4)
    network.standardise(known.p)
    objective = HeadRegression(network, head).eval()
    batch = {"images": known.images, "masks": known.face, **vars(known.p)}
    terms = objective.loss(batch, torch.Generator())
    assert all(t < 1e-3 for t in terms.values())
    wrong = objective.loss(batch | vars(known.p.rows(torch.arange(N).roll(1))), torch.Generator())
    assert all(wrong[name] > 100 * terms[name] for name in terms)


def test_spoiled_pictures_are_the_same_from_the_same_seed(known):
    one, two, other = (
        spoil(2 * known.images - 1, known.face, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert one.shape == known.images.shape
    assert one.isfinite().all()
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


# ---- rows


def uint8(known: SimpleNamespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = (known.images * 255).round().byte().movedim(1, 3).numpy()
    return images, known.face[:, 0].byte().numpy() * 255, to_pixels(known.marks, SIZE).numpy()


def extraction(head: Head, extractor=None, photometric=None) -> Extraction:
    fit = extractor or extract.Fit(head)
    return Extraction(head, fit, LandmarkFit(), photometric, LandmarkErrors.none())


def test_rows_of_an_extraction_are_ok_and_match_the_schema(head, known):
    arrays = extraction(head).fit(*uint8(known))
    assert set(arrays) | {"split"} == set(artifacts.FLAME.fields)
    assert arrays["status"].tolist() == ["ok"] * N
    assert all(v.dtype == np.float32 for k, v in arrays.items() if k != "status")
    assert arrays["residuals"].max() < 0.02
    assert arrays["colour_error"].max() < 0.06
    p = Parameters.from_arrays(arrays)
    own = to_pixels(residual(head, p, known.marks)[0], SIZE)
    np.testing.assert_allclose(arrays["landmarks2d"], own, atol=1e-3)
    assert surface_error(head, p, known.p).mean() < 0.8


@pytest.mark.parametrize("photometric", [None, PhotometricFit(steps=2)])
def test_a_row_that_cannot_be_fitted_says_why_and_leaves_the_others_alone(head, known, photometric):
    images, masks, marks = uint8(known)
    whole = extraction(head, photometric=photometric).fit(images, masks, marks)
    bad = marks.copy()
    bad[1, 5] = np.nan
    bad[3] = np.random.default_rng(0).uniform(0, SIZE, (68, 2))
    bad[4] = 0
    arrays = extraction(head, photometric=photometric).fit(images, masks, bad)
    assert len(arrays["status"]) == N
    assert arrays["status"][1] == "no landmarks to fit to"
    assert arrays["status"][3].startswith(("landmarks off by", "a coefficient lies at"))
    assert arrays["status"][4] != "ok"
    assert all("\n" not in told for told in arrays["status"])
    assert all(np.isfinite(v).all() for k, v in arrays.items() if k != "status")
    for i in (0, 2, 5):
        assert arrays["status"][i] == "ok"
        for name in SIZES:
            np.testing.assert_allclose(arrays[name][i], whole[name][i], atol=2e-3, err_msg=name)


def test_a_guess_that_is_no_number_is_told_of(head, known):
    class Broken(extract.Fit):
        def guess(self, images, landmarks):
            p = super().guess(images, landmarks)
            p.shape[2] = torch.nan
            return p

    arrays = extraction(head, Broken(head)).fit(*uint8(known))
    assert arrays["status"][2] == "the fit did not converge"
    assert (np.delete(arrays["status"], 2) == "ok").all()


def test_landmarks_in_one_point_are_told_of(head, known):
    images, masks, marks = uint8(known)
    marks[1], marks[4] = 11.5, 3
    arrays = extraction(head).fit(images, masks, marks)
    assert [told == "ok" for told in arrays["status"]] == [True, False, True, True, False, True]
    assert all(np.abs(v).max() < 1e6 for k, v in arrays.items() if k != "status")


def test_status_names_what_is_wrong(head):
    p, marks = Parameters.zeros(5), torch.zeros(5, 68, 2)
    p.expression[1, 3] = -7
    p.light[2, 0, 0] = torch.inf
    marks[3, 0, 0] = torch.nan
    off = torch.tensor([0.01, 0.01, 0.01, 0.01, 0.3])
    assert extract.status(p, off, marks) == [
        "ok",
        "a coefficient lies at 7.0 standard deviations",
        "the fit did not converge",
        "no landmarks to fit to",
        "landmarks off by 30% of the outer eye distance",
    ]


def test_a_head_has_an_identity(head):
    told = extract.identity(head, {"name": "procedural"})
    arrays = head.arrays()
    arrays["albedo_mean"] = arrays["albedo_mean"] * np.float32(0.9)
    assert extract.identity(Head.from_arrays(arrays, head.meta()), {})["sha256"] != told["sha256"]
    assert extract.identity(Head.from_arrays(head.arrays(), head.meta()), {})["sha256"] == told["sha256"]


# ---- views


def test_axis_angle_is_the_inverse_of_rotation_matrices():
    turns = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turns = turns * (
        3.0 * torch.rand(200, 1, generator=torch.Generator().manual_seed(1)) / turns.norm(dim=1, keepdim=True)
    )
    turns[0] = 0
    torch.testing.assert_close(axis_angle(rotation_matrices(turns)), turns, atol=1e-6, rtol=1e-5)


def test_between_two_people_is_a_straight_line(known):
    one, two = known.p.rows([0]), known.p.rows([1])
    line = between(one, two, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(line.to_vector("gif")[0], one.to_vector("gif")[0])
    torch.testing.assert_close(line.to_vector("gif")[2], two.to_vector("gif")[0])
    want = 0.75 * one.to_vector("gif")[0] + 0.25 * two.to_vector("gif")[0]
    torch.testing.assert_close(line.to_vector("gif")[1], want)
    assert line.light.shape == (3, 9, 3)


def test_a_turned_head_is_the_person_from_elsewhere(head, known):
    one = known.p.rows([0])
    size = 64
    drawn = turned(head, one, torch.tensor([0.0, 0.5, -0.5]), None, size)
    camera = centred(head, one.shape, one.expression, one.pose, FRAMING)
    vertices = head.vertices(one.shape, one.expression, one.pose)
    torch.testing.assert_close(drawn.mask[:1], drawing(head, one.replace(camera=camera), size).mask)
    assert 0.2 < drawn.mask.mean() < 0.8
    spin = rotation_matrices(torch.tensor([[0.0, 0.5, 0.0]]))
    root = head.joints(one.shape, one.expression)[:, :1]
    pose = torch.cat([axis_angle(spin @ rotation_matrices(one.pose[:, :3])), one.pose[:, 3:]], 1)
    torch.testing.assert_close(
        head.vertices(one.shape, one.expression, pose), (vertices - root) @ spin.mT + root, atol=1e-5, rtol=0
    )
    plain = Parameters.zeros(1)
    sides = turned(head, plain, torch.tensor([0.5, -0.5]), None, size).mask > 0
    assert ((sides[0] ^ sides[1].flip(2)).sum()) < 0.02 * sides[0].sum()


def test_a_photos_texture_is_its_albedo_without_the_light(head, known):
    skin = photo_texture(head, known.images, known.face, known.p, 64)
    assert skin.shape == (N, 3, 64, 64)
    assert 0 <= skin.min() <= skin.max() <= 1
    vertices = head.vertices(known.p.shape, known.p.expression, known.p.pose)
    drawn = render(head, vertices, known.p.camera, 2 * SIZE, head.albedo(known.p.texture))
    shown = functional.interpolate(known.face, scale_factor=2) * drawn.mask
    shown = -functional.max_pool2d(-shown, 5, 1, 2) > 0
    mine = render(head, vertices, known.p.camera, 2 * SIZE, skin)
    assert torch.equal(mine.fragments.face, drawn.fragments.face)
    error = (mine.image - drawn.image).abs().mean(1, keepdim=True)[shown]
    lit = (drawing(head, known.p, 2 * SIZE).image - drawn.image).abs().mean(1, keepdim=True)[shown]
    assert error.mean() < 0.03
    assert error.mean() < 0.4 * lit.mean()


# ---- backgrounds and attributes


def test_backgrounds_are_pictures_and_come_from_their_seed(tmp_path):
    photos = [np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)]
    for seed in range(8):
        one, two = (procedural_heads.background(photos, 24, np.random.default_rng(seed)) for _ in range(2))
        assert (one.shape, one.dtype) == ((24, 24, 3), np.float32)
        assert 0 <= one.min() < one.max() <= 1
        np.testing.assert_array_equal(one, two)


def test_splits_fill_their_shares_by_person():
    split = procedural_heads.split_of(np.arange(2000) // 2, 0.2, 0.1)
    assert (split[::2] == split[1::2]).all()
    np.testing.assert_allclose([(split == i).mean() for i in range(3)], [0.7, 0.2, 0.1], atol=0.01)
    assert not procedural_heads.split_of(np.arange(100), 0, 0).any()


# ---- processes and parts


def test_work_over_processes_is_complete():
    for processes in (1, 2):
        results = list(workers.each(pow, [3, 1, 2], partial(int, 2), processes, "test"))
        assert sorted(results) == [2, 4, 8]
    assert list(workers.each(pow, [3], partial(int, 2), 4, "test", own=5)) == [125]  # own tools, and no process
    assert list(workers.each(pow, [], partial(int, 2), 4, "test")) == []


def test_a_killed_process_is_told_of():
    with pytest.raises(
        FgError, match=r"heads: expected its processes to live, found one killed .*; set its processes to 1"
    ):
        list(workers.each(os.kill, [9, 9, 9], os.getpid, 2, "heads"))


def test_parts_are_kept_for_the_same_work_only(tmp_path):
    output = tmp_path / "out" / "faces.h5"
    folder = parts.begin(output, {"n": 1}, resume=True)
    assert parts.work_folder(output) in folder.parents
    parts.save_part(folder / "0.npz", {"x": np.arange(3), "name": np.array(["a"])})
    assert parts.load_part(folder / "0.npz")["x"].tolist() == [0, 1, 2]
    assert parts.begin(output, {"n": 1}, resume=True) == folder
    assert (folder / "0.npz").exists()
    assert not list(parts.begin(output, {"n": 1}, resume=False).iterdir())
    parts.save_part(folder / "0.npz", {"x": np.arange(3)})
    other = parts.begin(output, {"n": 2}, resume=True)
    assert other != folder
    assert not folder.exists()  # what belongs to other work is stale
    assert not list(other.iterdir())


def test_a_part_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def torn(stream, **arrays):
        stream.write(b"half")
        raise OSError("no room")

    monkeypatch.setattr(np, "savez", torn)
    with pytest.raises(OSError, match="no room"):
        parts.save_part(tmp_path / "0.npz", {"x": np.arange(3)})
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_told_of(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FgError, match=r"expected a folder that can be written, found one that cannot; choose"):
        parts.begin(tmp_path / "file" / "faces.h5", {}, resume=True)


def test_lamps_light_what_faces_them():
    towards = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    shaded = basis(towards) @ directional((0.0, 0.0, 1.0), 0.6, 0.3)
    torch.testing.assert_close(shaded[:, 0], torch.tensor([0.9, 0.3]), atol=0.06, rtol=0)
