"""Camera, light, rasteriser, renderer and texture stealing, against closed forms, brute force and differences."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y
from torch.nn import functional

from fgcli.errors import FgError
from fgcli.heads import camera as cameras
from fgcli.heads import light as lights
from fgcli.heads import rasteriser
from fgcli.heads import texture as textures
from fgcli.heads.rasteriser import interpolate, rasterise, refresh
from fgcli.heads.render import CLAY, normal_image, render, sample
from fgcli.procedural import procedural_head


def sphere(columns: int = 24, rows: int = 12, dtype: torch.dtype = torch.float64) -> SimpleNamespace:
    """A sphere of radius 0.1 m with what the renderer needs of a head; UV has a seam at the back and two poles."""
    polar, turn = np.meshgrid(np.linspace(0, np.pi, rows + 1), np.linspace(-np.pi, np.pi, columns + 1), indexing="ij")
    points = 0.1 * np.stack([np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)], -1)
    uv = np.stack([turn / (2 * np.pi) * 0.96 + 0.5, 0.98 - polar / np.pi * 0.96], -1).reshape(-1, 2)
    corner = np.arange((rows + 1) * (columns + 1)).reshape(rows + 1, columns + 1)
    vertex = corner.copy()
    vertex[:, -1], vertex[0], vertex[-1] = vertex[:, 0], vertex[0, 0], vertex[-1, 0]  # seam and poles are one
    quad = np.array([[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]])
    at = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1).reshape(-1, 1, 1, 2)
    at = (at + quad).reshape(-1, 3, 2)
    faces, uv_faces = vertex[at[..., 0], at[..., 1]], corner[at[..., 0], at[..., 1]]
    thin = (faces == np.roll(faces, 1, 1)).any(1)
    faces = torch.from_numpy(faces[~thin])

    def normals(vertices: torch.Tensor) -> torch.Tensor:
        a, b, c = (vertices[:, faces[:, i]] for i in range(3))
        sums = torch.zeros_like(vertices)
        for i in range(3):
            sums = sums.index_add(1, faces[:, i], torch.linalg.cross(b - a, c - a))
        return functional.normalize(sums, dim=-1, eps=1e-20)

    template = torch.from_numpy(points.reshape(-1, 3)).to(dtype)
    uv_faces = torch.from_numpy(uv_faces[~thin])
    uv = torch.from_numpy(uv).to(dtype)
    return SimpleNamespace(name="sphere", template=template, faces=faces, uv=uv, uv_faces=uv_faces, normals=normals)


def rotation(x: float, y: float, z: float) -> torch.Tensor:
    turn = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    return torch.linalg.matrix_exp(turn)


def waves(size: int, n: int = 1) -> torch.Tensor:
    """Smooth textures (n, 3, size, size), symmetric from left to right."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size, dtype=torch.float64)] * 2, indexing="ij")
    planes = [(7 * x).cos() * (5 * y + i).cos() for i in range(3 * n)]
    return 0.5 + 0.3 * torch.stack(planes).unflatten(0, (n, 3))


def lamps(n: int) -> torch.Tensor:
    rng = torch.Generator().manual_seed(3)
    return lights.WHITE.double() + 0.2 * torch.randn(n, 9, 3, generator=rng, dtype=torch.float64)


VIEW = torch.tensor([[8.0, 0.003, -0.002]], dtype=torch.float64)


# ---- camera


def test_projection():
    points = torch.tensor([[[0.1, 0.2, 0.3]]], dtype=torch.float64)
    view = torch.tensor([[2.0, 0.05, -0.1]], dtype=torch.float64)
    ndc = cameras.project(points, view)
    torch.testing.assert_close(ndc, torch.tensor([[[0.3, -0.2, 0.6]]], dtype=torch.float64))
    edges = torch.tensor([[-1.0, -1.0, 9.0], [1.0, 1.0, 9.0], [0.0, 0.0, 9.0]])
    pixels = cameras.to_pixels(edges, 8)
    assert pixels.tolist() == [[-0.5, -0.5], [7.5, 7.5], [3.5, 3.5]]
    assert cameras.to_ndc(pixels, 8).tolist() == edges[:, :2].tolist()


# ---- light


def test_basis_is_spherical_harmonics():
    normals = functional.normalize(torch.randn(50, 3, dtype=torch.float64), dim=-1)
    x, y, z = normals.numpy().T
    polar, azimuth = np.arccos(z), np.arctan2(y, x)

    def real(degree, order):
        values = sph_harm_y(degree, abs(order), polar, azimuth)
        if not order:
            return values.real
        return np.sqrt(2) * (-1) ** order * (values.real if order > 0 else values.imag)

    order = [(0, 0), (1, 1), (1, -1), (1, 0), (2, -2), (2, 1), (2, -1), (2, 2), (2, 0)]
    lobe = (1, 2 * np.pi / 3, np.pi / 4)
    expected = np.stack([lobe[degree] * real(degree, m) for degree, m in order], -1)
    np.testing.assert_allclose(lights.basis(normals).numpy(), expected, atol=1e-12)
    published = (0.28209, *[1.02333] * 3, *[0.85809] * 3, 0.42904, 0.24771)
    np.testing.assert_allclose(lights.FACTORS, published, atol=6e-6)


def test_white_and_directional_light():
    normals = functional.normalize(torch.randn(2, 4, 5, 3), dim=-1)
    torch.testing.assert_close(lights.shade(normals, lights.WHITE.expand(2, -1, -1)), torch.ones(2, 4, 5, 3))
    lit = lights.directional((0.0, 3.0, 0.0), strength=0.5, ambient=0.3)
    up = torch.tensor([[[0.0, 1, 0], [0, -1, 0], [1, 0, 0]]])
    # the second-degree expansion of max(0, cos) is 17/16 at 0, 1/16 at pi and 3/32 at pi / 2
    expected = 0.3 + 0.5 * torch.tensor([17 / 16, 1 / 16, 3 / 32])
    torch.testing.assert_close(lights.shade(up, lit[None])[0], expected[:, None].expand(3, 3))


# ---- rasteriser


def brute(ndc: np.ndarray, faces: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All pixels against all faces: nearest front face (h, w), weights, depth, and where that is beyond doubt."""
    x, y = np.meshgrid(*[(np.arange(size) + 0.5) * 2 / size - 1] * 2)
    (x0, y0, z0), (x1, y1, z1), (x2, y2, z2) = (ndc[faces[:, i]].T[..., None, None] for i in range(3))
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    w = np.stack([(x1 - x) * (y2 - y) - (x2 - x) * (y1 - y), (x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)]) / area
    w = np.concatenate([w, 1 - w.sum(0, keepdims=True)])
    depth = np.where((w.min(0) >= 0) & (area < 0), w[0] * z0 + w[1] * z1 + w[2] * z2, -np.inf)
    first = depth.argmax(0)
    best = depth.max(0)
    clear = (np.abs(w.min(0)) > 1e-3).all(0) & (np.sort(depth, 0)[-2] < best - 1e-5)
    clear |= (w.min(0) < -1e-3).all(0)
    w = np.take_along_axis(w, first[None, None], 1)[:, 0]
    empty = np.isinf(best)
    return np.where(empty, -1, first), np.where(empty, 0, w), best, clear


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-9), (torch.float32, 2e-4)])
def test_against_brute_force(dtype, within):
    rng = np.random.default_rng(0)
    ndc = rng.uniform(-1.3, 1.3, (2, 40, 3))
    faces = rng.permuted(np.tile(np.arange(40), (60, 1)), axis=1)[:, :3]
    found = rasterise(torch.tensor(ndc, dtype=dtype), torch.tensor(faces), 32)
    for i in range(2):
        face, weights, depth, clear = brute(ndc[i], faces, 32)
        assert clear.mean() > 0.85
        assert (face >= 0)[clear].mean() > 0.5
        assert (found.face[i].numpy() == face)[clear].all()
        np.testing.assert_allclose(found.bary[i].numpy()[clear], weights.transpose(1, 2, 0)[clear], atol=within)
        np.testing.assert_allclose(found.depth[i].numpy()[clear], depth[clear], atol=within)
        assert (found.mask[i, 0].numpy()[clear] == (face >= 0)[clear]).all()


def test_no_pinholes():
    head = sphere(200, 100, torch.float32)
    turned = head.template @ rotation(0.3, 0.5, 0.7).float()
    ndc = cameras.project(turned[None], torch.tensor([[8.0, 0, 0]]))
    x, y = torch.meshgrid(*[(torch.arange(128) + 0.5) / 64 - 1] * 2, indexing="xy")
    disc = (x**2 + y**2).sqrt()
    covered = rasterise(ndc, head.faces, 128).mask[0, 0].bool()
    assert covered[disc < 0.79].all()
    assert not covered[disc > 0.8].any()


def test_culling():
    triangle = torch.tensor([[[-0.9, 0.9, 0], [0.9, 0.9, 0], [0, -0.9, 0]]])
    outside, inside = torch.tensor([[0, 1, 2]]), torch.tensor([[0, 2, 1]])
    assert rasterise(triangle, outside, 16).mask.sum() > 50
    assert rasterise(triangle, inside, 16).mask.sum() == 0
    both = (rasterise(triangle, faces, 16, cull=False) for faces in (outside, inside))
    first, second = (fragments.mask for fragments in both)
    assert torch.equal(first, second)


def test_same_bytes_whatever_the_portions(monkeypatch):
    head = sphere(dtype=torch.float32)
    turned = torch.stack([head.template @ rotation(0.1 * i, 0.2 * i, 0).float() for i in range(3)])
    ndc = cameras.project(turned, VIEW.float().expand(3, -1))
    whole = rasterise(ndc, head.faces, 40)
    again = rasterise(ndc, head.faces, 40)
    monkeypatch.setattr(rasteriser, "CACHE_ITEMS", 50)
    portions = rasterise(ndc, head.faces, 40)
    single = [rasterise(ndc[i : i + 1], head.faces, 40) for i in range(3)]
    for name in ("face", "bary", "depth", "mask"):
        picture = getattr(whole, name)
        assert torch.equal(picture, getattr(again, name))
        assert torch.equal(picture, getattr(portions, name))
        assert torch.equal(picture, torch.cat([getattr(one, name) for one in single]))
        values = torch.rand(3, len(head.template), 2)
        assert torch.equal(interpolate(whole, head.faces, values), interpolate(portions, head.faces, values))


def test_refresh_keeps_the_faces():
    head = sphere()
    ndc = cameras.project(head.template[None], VIEW)
    found = rasterise(ndc, head.faces, 24)
    torch.testing.assert_close(refresh(found, ndc, head.faces).weights, found.weights)
    moved = refresh(found, ndc + 0.01, head.faces)
    assert torch.equal(moved.face, found.face)
    points = moved.gather(head.faces, ndc + 0.01)
    expected = cameras.to_ndc(torch.stack([found.pixel % 24, found.pixel // 24], -1).double(), 24)
    torch.testing.assert_close(points[:2].t(), expected)  # the weights still say where the pixel is
    torch.testing.assert_close(points[2], moved.depths)


@pytest.mark.parametrize(
    ("ndc", "faces", "size", "said"),
    [
        (torch.zeros(1, 3, 3), torch.zeros(0, 3, dtype=torch.int64), 8, "faces, found 0"),
        (torch.full((1, 3, 3), torch.nan), torch.tensor([[0, 1, 2]]), 8, "finite"),
        (torch.zeros(1, 3, 3), torch.tensor([[0, 1, 2]]), 0, "size of at least 1 px, found 0"),
    ],
)
def test_degenerate_input_is_refused(ndc, faces, size, said):
    with pytest.raises(FgError, match=said) as error:
        rasterise(ndc, faces, size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("where", [5.0, 1e30, -1e30])
def test_nothing_in_view(where):
    head = sphere(dtype=torch.float32)
    seen = render(head, head.template[None] + where, torch.tensor([[8.0, 0, 0]]), 16, waves(8).float(), lights.WHITE)
    assert not seen.image.any()
    assert not seen.mask.any()
    assert seen.uv.shape == (1, 2, 16, 16)


def test_faces_without_area():
    flat = torch.tensor([[[-0.5, 0, 0], [0, 0, 0], [0.5, 0, 0], [0.1, 0.1, 0]]])
    assert not rasterise(flat, torch.tensor([[0, 1, 2], [3, 3, 3], [0, 0, 1]]), 16).mask.any()


# ---- pictures


def test_gradients_against_differences():
    head = sphere(10, 6)
    inputs = (
        (head.template @ rotation(0.2, 0.3, 0.1))[None].requires_grad_(),
        VIEW.clone().requires_grad_(),
        waves(5).requires_grad_(),
        lamps(1).requires_grad_(),
    )
    assert torch.autograd.gradcheck(
        lambda vertices, view, texture, light: render(head, vertices, view, 9, texture, light).image, inputs, atol=1e-6
    )


def test_shift_moves_whole_pixels():
    head, size = sphere(), 32
    shifted = VIEW + torch.tensor([[0, 3 * 2 / size / 8.0, -2 * 2 / size / 8.0]], dtype=torch.float64)
    one, two = (render(head, head.template[None], v, size, waves(16), lamps(1)).image for v in (VIEW * 0.99, VIEW))
    assert not torch.equal(one, two)
    moved = render(head, head.template[None], shifted, size, waves(16), lamps(1)).image
    torch.testing.assert_close(moved, two.roll((2, 3), (2, 3)), atol=1e-9, rtol=0)


def test_scale_is_the_camera_s():
    head = sphere()
    one = render(head, head.template[None], VIEW, 32, waves(16), lamps(1)).image
    view = VIEW * torch.tensor([[0.1, 10, 10]], dtype=torch.float64)
    ten = render(head, 10 * head.template[None], view, 32, waves(16), lamps(1)).image
    torch.testing.assert_close(one, ten, atol=1e-9, rtol=0)


def test_head_and_light_turn_together():
    head, light = sphere(), lamps(1)
    quarter = rotation(0, 0, np.pi / 2)
    directions = functional.normalize(torch.randn(100, 3, dtype=torch.float64), dim=-1)
    turned = torch.linalg.lstsq(lights.basis(directions @ quarter.T), lights.basis(directions) @ light[0]).solution
    vertices = head.template @ rotation(0.2, 0.3, 0.1)
    view = torch.tensor([[8.0, 0, 0]], dtype=torch.float64)
    one = render(head, vertices[None], view, 32, waves(16), light)
    two = render(head, (vertices @ quarter.T)[None], view, 32, waves(16), turned[None])
    torch.testing.assert_close(two.image, one.image.rot90(1, (2, 3)), atol=1e-9, rtol=0)


def test_normals_of_a_sphere():
    head = sphere(96, 48)
    seen = render(head, head.template[None], VIEW, 48)
    y, x = torch.meshgrid(*[(torch.arange(48) + 0.5) / 24 - 1] * 2, indexing="ij")
    x, y = x / 8 - VIEW[0, 1], -y / 8 - VIEW[0, 2]
    expected = torch.stack([x, y, (0.01 - x**2 - y**2).clamp_min(0).sqrt()]) / 0.1
    inner = (seen.mask[0, 0] > 0) & (expected[2] > 0.3)
    torch.testing.assert_close(seen.normals[0][:, inner], expected[:, inner].double(), atol=4e-3, rtol=0)
    torch.testing.assert_close(seen.normals.norm(dim=1)[seen.mask[:, 0] > 0].min(), torch.tensor(1.0).double())
    coloured = normal_image(seen)
    torch.testing.assert_close(coloured[0][:, inner], (seen.normals[0][:, inner] + 1) / 2)
    assert not coloured[0][:, seen.mask[0, 0] == 0].any()


def test_unlit_constant_and_clay():
    head = sphere(dtype=torch.float32)
    vertices = (head.template @ rotation(0, 2.8, 0).float())[None]  # the seam in view
    view = VIEW.float()
    colour = torch.tensor([0.2, 0.4, 0.9])[:, None, None].expand(3, 8, 8)
    seen = render(head, vertices, view, 32, colour)
    inside = seen.mask[0, 0] > 0
    torch.testing.assert_close(seen.image[0][:, inside], colour[:, 0, :1].expand(-1, int(inside.sum())))
    assert not seen.image[0][:, ~inside].any()
    clay = render(head, vertices, view, 32, light=lights.WHITE)
    torch.testing.assert_close(clay.image, CLAY * seen.mask.expand(-1, 3, -1, -1))
    with pytest.raises(FgError, match="expected a texture"):
        _ = clay.uv


def test_texture_lands_where_uv_says():
    head = sphere()
    seen = render(head, head.template[None] @ rotation(0.1, 2.8, 0), VIEW, 40, waves(64))
    u, v = seen.uv[0]
    grid = torch.stack([2 * u - 1, 1 - 2 * v], -1)[None]
    expected = functional.grid_sample(waves(64), grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(seen.image, expected * seen.mask)
    inner = seen.mask[0, 0] > 0
    assert float(u[inner].max() - u[inner].min()) > 0.9  # both sides of the seam, and nothing smeared across it:
    place = interpolate(seen.fragments, head.faces, head.template @ rotation(0.1, 2.8, 0))[0]
    place = place @ rotation(0.1, 2.8, 0).T
    turn = torch.atan2(place[..., 0], place[..., 2]) / (2 * torch.pi) * 0.96 + 0.5
    near_pole = place[..., 1].abs() > 0.08
    assert float((turn - u)[inner & ~near_pole].abs().max()) < 0.01


def test_head_without_uv():
    head = sphere()
    head.uv = head.uv[:0]
    with pytest.raises(FgError, match="found none"):
        render(head, head.template[None], VIEW, 8, waves(8))
    with pytest.raises(FgError, match="found none"):
        textures.steal(head, waves(8), head.template[None], VIEW, 8)


# ---- stealing


@pytest.fixture(scope="module")
def stolen():
    """A sphere in two poses, its renders at 128 px and what was stolen from them."""
    head = sphere(64, 32)
    vertices = torch.stack([head.template @ rotation(0.1, y, 0) for y in (-0.4, 0.3)])
    views = VIEW.expand(2, -1)
    seen = render(head, vertices, views, 128, waves(128, 2), lamps(2))
    return head, vertices, views, seen, textures.steal(head, seen.image, vertices, views, 128)


def test_stolen_texture_gives_the_picture_back(stolen):
    head, vertices, views, seen, taken = stolen
    again = render(head, vertices, views, 128, taken.texture)
    uv = seen.fragments.gather(head.uv_faces, head.uv)
    around = functional.max_pool2d(taken.visible, 3, 1, 1).expand(-1, 3, -1, -1)
    known = sample(around, uv, seen.fragments.counts)[0] > 0.999
    assert float(known.double().mean()) > 0.9
    error = (again.colours - seen.colours)[:, known].square().mean()
    assert -10 * float(error.log10()) > 40


def test_stealing_from_heads():
    """Eyes, lips and ears: texels larger than pixels, and parts that hide each other."""
    head = procedural_head(detail=0.72)
    shape = torch.randn(2, 10, generator=torch.Generator().manual_seed(0))
    pose = torch.tensor([[0.1, 0.4, 0.0, 0.1, 0, 0], [0.0, -0.3, 0.1, 0, 0, 0]])
    vertices = head.vertices(shape, shape[:, :5] * 0.5, pose)
    low, high = vertices.amin(1), vertices.amax(1)
    views = torch.cat([1.9 / (high - low).amax(1, keepdim=True), -(low + high)[:, :2] / 2], 1)
    light = lights.directional((0.5, 0.4, 1.0))
    seen = render(head, vertices, views, 256, head.albedo(shape), light)
    taken = textures.steal(head, seen.image, vertices, views, 256)
    again = render(head, vertices, views, 256, taken.texture)
    around = functional.max_pool2d(taken.visible, 3, 1, 1).expand(-1, 3, -1, -1)
    known = sample(around, seen.fragments.gather(head.uv_faces, head.uv), seen.fragments.counts)[0] > 0.999
    assert float(known.float().mean()) > 0.95
    assert -10 * float((again.colours - seen.colours)[:, known].square().mean().log10()) > 42


def test_hidden_stays_hidden(stolen):
    head, vertices, _, _, taken = stolen
    table = textures.texels(head, 128)
    place, towards = textures.at_texels(table, head, torch.cat([vertices, head.normals(vertices)], -1)).split(3, 1)
    seen = taken.visible.flatten(2)[:, 0].index_select(1, table.pixel).bool()
    assert not seen[towards[:, 2] < textures.LEAST_FACING].any()
    assert seen[towards[:, 2] > 0.4].all()
    assert float(place[:, 2][seen].min()) > 0
    nowhere = functional.max_pool2d(taken.visible, 3, 1, 1) == 0
    assert not taken.texture[nowhere.expand(-1, 3, -1, -1)].any()
    assert 0.3 < float(taken.visible.mean()) < 0.5


def test_what_stands_in_front_hides():
    head = sphere(32, 16)
    n = len(head.template)
    plate = torch.tensor([[0.0, -0.1, 0.15], [0.1, -0.1, 0.15], [0.1, 0.1, 0.15], [0.0, 0.1, 0.15]]).double()
    faces = torch.cat([head.faces, torch.tensor([[0, 1, 2], [0, 2, 3]]) + n])
    corners = torch.cat([head.uv_faces, torch.zeros(2, 3, dtype=torch.int64)])
    both = SimpleNamespace(name="both", faces=faces, uv=head.uv, uv_faces=corners)
    both.normals = lambda v: torch.cat([head.normals(v[:, :n]), torch.tensor([[[0.0, 0, 1]] * 4]).to(v)], 1)
    vertices = torch.cat([head.template, plate])[None]
    taken = textures.steal(both, torch.ones(1, 3, 64, 64).double(), vertices, VIEW, 64)
    alone = textures.steal(head, torch.ones(1, 3, 64, 64).double(), head.template[None], VIEW, 64)
    left, right = taken.visible[0, 0, 16:48, :31], taken.visible[0, 0, 16:48, 34:48]
    assert torch.equal(left, alone.visible[0, 0, 16:48, :31])  # subject's right: image left, not behind the plate
    assert not right.any()
    assert alone.visible[0, 0, 16:48, 34:42].all()


def test_stealing_is_linear_in_the_picture(stolen):
    head, vertices, views, seen, taken = stolen
    image = seen.image.detach().clone().requires_grad_()
    again = textures.steal(head, image, vertices, views, 128)
    again.texture[0].sum().backward()
    assert not image.grad[1].any()
    total = float((image.grad[0] * seen.image[0]).sum())
    assert total == pytest.approx(float(taken.texture[0].sum()))


def test_delight_gives_the_albedo_back(stolen):
    head, vertices, _, _, taken = stolen
    shading = textures.texel_shading(head, vertices, lamps(2), 128)
    plain = textures.delight(taken, shading)
    inner = (taken.visible > 0) & (shading > 0.4).all(1, keepdim=True) & (shading < 2).all(1, keepdim=True)
    error = (plain.texture - waves(128, 2)).abs() * inner
    assert float(error.square().sum() / (3 * inner.sum())) < 1e-3
    black = textures.delight(taken, torch.zeros_like(shading)).texture
    assert float((black - taken.texture / textures.FLOOR).max()) < 1e-9
    grey = textures.Stolen(torch.full_like(shading, 0.2), taken.visible, taken.chart)
    half = torch.ones_like(shading)
    half[..., 64:] = 1e-3  # a light that was fitted wrongly
    gains = textures.delight(grey, half).texture.aminmax()
    assert float(gains.max / gains.min) < textures.MOST_GAIN**2 + 1e-6
    blue = torch.tensor([1.0, 1.0, 0.01], dtype=torch.float64)[:, None, None].expand_as(shading)
    colour = textures.delight(grey, blue).texture[0, :, 0, 0]
    assert 1 < float(colour[2] / colour[0]) < textures.MOST_HUE**2 + 1e-6


def test_only_the_mask_is_read(stolen):
    head, vertices, views, seen, taken = stolen
    mask = torch.zeros_like(seen.mask)
    mask[..., :64, :] = 1
    upper = textures.steal(head, seen.image, vertices, views, 128, mask=mask)
    changed = textures.steal(head, torch.where(mask > 0, seen.image, 9.0), vertices, views, 128, mask=mask)
    torch.testing.assert_close(changed.texture, upper.texture)
    assert not (upper.visible > taken.visible).any()
    assert 0.3 < float(upper.visible.sum() / taken.visible.sum()) < 0.6


def test_completing(stolen):
    head, vertices, views, _, taken = stolen
    grey = torch.full((3, 128, 128), 0.5, dtype=torch.float64)
    nothing = textures.Stolen(taken.texture * 0, taken.visible * 0, taken.chart)
    assert torch.equal(textures.complete(nothing, grey), grey.expand(2, -1, -1, -1))
    # unlit, the texture is the same on both sides: the mirror image is the truth
    unlit = render(head, vertices, views, 128, waves(128, 2))
    known = textures.steal(head, unlit.image, vertices, views, 128)
    mirrored, alone = textures.complete(known, waves(128, 2)), textures.complete(known, waves(128, 2), mirror=False)
    for whole in (mirrored, alone):
        assert float((whole - waves(128, 2)).abs().max()) < 0.1
        core = -functional.max_pool2d(-known.visible, 9, 1, 4) > 0
        assert float(((whole - known.texture) * core).abs().max()) < 1e-6
    shifted = textures.complete(known, waves(128, 2) * 0.7)
    either = (known.visible + known.visible.flip(-1)) > 0
    ring = functional.max_pool2d(either.double(), 5, 1, 2) - either.double() > 0
    edge = (shifted - waves(128, 2)).abs().mean(1, keepdim=True)[ring].mean()
    assert float(edge) < 0.07  # no seam of 0.15: beyond the rim the albedo is drawn to what was seen


def test_texel_table_is_kept_with_the_head(stolen):
    head = stolen[0]
    assert textures.texels(head, 128) is textures.texels(head, 128)
    head.uv = head.uv.float()
    assert textures.texels(head, 128).weights.dtype == torch.float32
    head.uv = head.uv.double()
