"""Spectacles: where they sit, how they move, what hides them, and who wears them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fgcli.datasets import procedural_heads
from fgcli.heads.camera import project, to_pixels
from fgcli.heads.head import Head, rotation_matrices
from fgcli.heads.parameters import Parameters
from fgcli.heads.rasteriser import rasterise
from fgcli.heads.render import Render, render
from fgcli.procedural import procedural_head
from fgcli.procedural.glasses import AROUND, BRIDGE, RIM, Pair, draw_pair, mesh, put_on
from fgcli.procedural.population import Population

N, SIZE, TUBE = 6, 96, RIM * AROUND


@pytest.fixture(scope="module")
def head() -> Head:
    return procedural_head(0.72, 32)


@pytest.fixture(scope="module")
def people(head: Head) -> Parameters:
    """Upright heads of different people, all straight ahead."""
    rng = np.random.default_rng(0)
    drawn = Population(yaw=0, pitch=0, roll=0)
    moments = [drawn.moment(head, rng) for _ in range(N)]
    return drawn.parameters(head, [drawn.person(head, rng) for _ in range(N)], moments)


PAIRS = [draw_pair(np.random.default_rng([1, i])) for i in range(N)]


def turned(p: Parameters, *angles: float) -> Parameters:
    return p.replace(pose=torch.cat([torch.tensor(angles).expand(len(p), 3), p.pose[:, 3:]], 1))


def drawn(head: Head, p: Parameters) -> Render:
    return render(head, head.vertices(p.shape, p.expression, p.pose), p.camera, SIZE, light=p.light)


def rims(points: Tensor) -> tuple[Tensor, Tensor]:
    """Points of the left and of the right rim: the meshes' halves come one after the other."""
    half = (points.shape[1] - BRIDGE * AROUND) // 2
    return points[:, :TUBE], points[:, half : half + TUBE]


def test_rims_surround_the_eyes_and_stand_clear_of_the_face(head: Head, people: Parameters) -> None:
    points, _, faces = mesh(head, people, PAIRS)
    vertices = head.vertices(people.shape, people.expression, people.pose)
    seen = to_pixels(project(points, people.camera), SIZE)
    marks = to_pixels(project(head.landmarks(vertices, people.pose), people.camera), SIZE)
    for rim, eye in zip(rims(seen), (slice(42, 48), slice(36, 42)), strict=True):
        iris = marks[:, eye].mean(1)
        assert (rim.amin(1) + 2 < iris).all()
        assert (iris < rim.amax(1) - 2).all()
    bare = drawn(head, people)
    shown = (put_on(head, people, PAIRS, bare)[0] != bare.image).any(1)
    one = rasterise(project(points, people.camera), faces[: 2 * TUBE], SIZE)
    assert len(one.pixel) > 100 * N
    assert shown.flatten()[one.pixel].all()  # no part of a rim is inside the face


def test_mesh_is_a_mirror_image_of_itself_and_closed_outwards(head: Head) -> None:
    points, normals, faces = mesh(head, Parameters.zeros(N), PAIRS)
    exact = points.double()
    assert torch.cdist(exact * torch.tensor([-1, 1, 1]), exact).amin(2).max() < 1e-6
    a, b, c = (points[:, faces[:, i]] for i in range(3))
    outward = (torch.linalg.cross(b - a, c - a) * normals[:, faces].mean(2)).sum(2)
    assert (outward > 0).all()


def test_they_turn_with_the_head_and_not_with_the_jaw(head: Head, people: Parameters) -> None:
    one = turned(people, 0.2, -0.4, 0.1)
    gaping = one.replace(pose=torch.cat([one.pose[:, :3], one.pose[:, 3:] + 0.3], 1))
    before, after, jaw = (mesh(head, p, PAIRS)[0] for p in (people, one, gaping))
    rotation = rotation_matrices(one.pose[:, :3])
    root = head.joints(people.shape, people.expression)[:, :1]
    torch.testing.assert_close(after, (before - root) @ rotation.mT + root, atol=1e-6, rtol=0)
    assert torch.equal(after, jaw)


def test_nothing_is_drawn_where_the_head_is_nearer_nor_on_rows_without(head: Head, people: Parameters) -> None:
    behind = turned(people, 0.0, np.pi, 0.0)
    bare = drawn(head, behind)
    image, mask = put_on(head, behind, [*PAIRS[:-1], None], bare)
    centre = slice(SIZE // 2 - 20, SIZE // 2 + 20)  # of the back of the head
    assert torch.equal(image[..., centre, centre], bare.image[..., centre, centre])
    assert torch.equal(image[-1], bare.image[-1])
    assert torch.equal(mask[-1], bare.mask[-1])
    assert (mask >= bare.mask).all()
    pairs: list[Pair | None] = [None] * N
    assert put_on(head, people, pairs, bare)[0] is bare.image


def test_the_attribute_follows_the_person_and_bytes_are_equal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"name": "procedural", "detail": 0.72, "texture_size": 32}
    settings = {
        "size": 32,
        "seed": 5,
        "head": named,
        "per_person": 2,
        "framing": 0.8,
        "shape_modes": 100,
        "backgrounds": "",
    }
    tools = procedural_heads.scenes(settings)

    def made(name: str, share: float) -> dict[str, np.ndarray]:
        monkeypatch.setattr(procedural_heads, "BESPECTACLED", share)
        return procedural_heads.render(tools, procedural_heads.Chunk(0, 20, tmp_path / name))

    some, again, none = made("a.npz", 0.5), made("b.npz", 0.5), made("c.npz", 0)
    assert all(np.array_equal(some[key], again[key]) for key in some)
    worn = some["attributes"][:, tools.attribute_names.index("eyeglasses")]
    assert np.array_equal(worn[::2], worn[1::2])
    assert 0 < worn.sum() < len(worn)
    changed = (some["images"] != none["images"]).any((1, 2, 3))
    assert np.array_equal(changed, worn == 1)
    assert np.array_equal(some["masks"], none["masks"])
    assert np.array_equal(none["attributes"], np.c_[some["attributes"][:, :-1], 0 * worn])
