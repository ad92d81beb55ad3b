"""Shape and expression: hand-made displacement fields, cm per standard deviation."""

from __future__ import annotations

import numpy as np

from fgcli.procedural import tables as cm
from fgcli.procedural.curves import smoothstep
from fgcli.procedural.mesh import LEFT_EAR, LEFT_EYE, RIGHT_EAR, RIGHT_EYE, RIM, SKIN, Mesh

EXPRESSIONS = ("lips_apart", "smile", "sad", "pucker", "brows_up", "frown", "blink", "lip_raise", "puff", "smirk")
CLOSED = 2.0
"""The coefficient of "blink" that closes the eyes."""
LIDS = {"blink": 1 / CLOSED, "smile": 0.07, "brows_up": -0.08, "frown": 0.05, "sad": 0.04, "smirk": 0.03}
"""How far expressions close the eyes per standard deviation."""


def _blob(p: np.ndarray, centre: tuple[float, float, float], size: tuple[float, float, float]) -> np.ndarray:
    """A Gaussian bell (n,) about `centre` and its mirror image."""
    offset = np.stack([abs(p[:, 0]), p[:, 1], p[:, 2]], 1) - centre
    return np.exp(-0.5 * ((offset / size) ** 2).sum(1))


def _push(x: np.ndarray | float = 0.0, y: np.ndarray | float = 0.0, z: np.ndarray | float = 0.0) -> np.ndarray:
    return np.stack(np.broadcast_arrays(x, y, z), -1).astype(np.float64)


def _outwards(p: np.ndarray) -> np.ndarray:
    """-1 on the subject's right, 1 on the left, with a smooth passage."""
    return np.tanh(p[:, 0] / 0.8)


def _fields(p: np.ndarray) -> dict[str, np.ndarray]:
    """Shape fields (n, 3) at points (n, 3), by name."""
    x, y, z = p.T
    out, low = _outwards(p), smoothstep(y, -5.0, -9.0)
    nose = _blob(p, (0, -3.2, 11), (1.5, 1.4, 2.6))
    brow = _blob(p, (3.1, 2.4, 7.8), (2.4, 0.8, 3.5))
    eyes = _blob(p, (3.1, 0.1, 7.4), (2.4, 1.7, 3))
    mouth = _blob(p, (0, -6.4, 9), (3.0, 1.3, 3.5))
    lip = np.exp(-((x / 2.3) ** 4)) * (z > 4) * np.exp(-0.5 * ((y + 6.4) / 0.9) ** 2)
    return {
        "width": _push(x=0.034 * x),
        "length": _push(y=0.03 * y),
        "jaw width": _push(x=0.062 * x * low * smoothstep(z, -4, 2)),
        "cheek bones": _push(x=0.2 * out, z=0.1) * _blob(p, (5.8, -2.0, 5.0), (1.8, 1.6, 3))[:, None],
        "chin height": _push(y=-0.32 * smoothstep(y, -7.0, -10.0) * smoothstep(z, 0, 5)),
        "chin forward": _push(z=0.36 * _blob(p, (0, -10, 8.5), (2.4, 1.7, 3.5))),
        "chin width": _push(x=0.12 * x * _blob(p, (0, -10.2, 8), (2.6, 1.3, 3))),
        "nose length": _push(y=-0.24 * _blob(p, (0, -3.9, 10.4), (1.6, 1.1, 3))),
        "nose width": _push(x=0.15 * x * _blob(p, (0, -3.7, 10), (1.7, 1.0, 3))),
        "nose forward": _push(z=0.28 * nose),
        "nose bridge": _push(z=0.24 * _blob(p, (0, -0.6, 9.6), (0.8, 1.2, 3))),
        "nose tip": _push(y=0.2, z=0.05) * _blob(p, (0, -3.4, 11.2), (0.9, 0.8, 1.2))[:, None],
        "eyes apart": _push(x=0.17 * out * eyes),
        "eyes high": _push(y=0.2 * _blob(p, (3.1, 0.6, 7.4), (3.2, 1.9, 4))),
        "eyes deep": _push(z=-0.16 * eyes),
        "brows high": _push(y=0.24 * brow),
        "brow ridge": _push(z=0.24 * _blob(p, (2.2, 2.2, 8.8), (2.6, 0.8, 3))),
        "mouth width": _push(x=0.085 * x * mouth),
        "mouth high": _push(y=0.2 * mouth),
        "lips full": _push(y=0.22 * np.tanh((y + 6.4) / 0.6), z=0.12) * lip[:, None],
        "cheeks full": _push(x=0.3 * out, z=0.2) * _blob(p, (5.0, -5.2, 5.5), (1.7, 2.2, 3))[:, None],
        "forehead": _push(z=0.32 * _blob(p, (0, 5.8, 8.5), (5, 2.6, 4))),
        "cranium": _push(y=0.3 * smoothstep(y, 3, 10), z=-0.35 * smoothstep(z, 1, -8)),
        "neck": _push(x=0.05 * x, z=0.05 * (z + 1.7)) * smoothstep(y, -8.5, -13.0)[:, None],
    }


def shape_basis(mesh: Mesh) -> np.ndarray:
    """(v, 3, 24), cm: the fields turned into orthogonal modes of falling variance.

    With F the fields side by side, F = U S V^T; unit Gaussian coefficients of the columns of U S give the very same
    distribution as of those of F, since V is orthogonal.
    """
    fields = _whole_eyes(mesh, _fields(mesh.anchor), _fields(np.stack([mesh.anchor[ball[0]] for ball in mesh.balls])))
    fields["neck"] += _ear_size(mesh)
    fields["eyes deep"] += _lid_motion(mesh, -0.16)
    columns = np.stack([field.ravel() for field in fields.values()], 1)
    variances, axes = np.linalg.eigh(columns.T @ columns)
    axes = axes[:, np.argsort(-variances)]
    modes = columns @ axes
    modes *= np.sign(modes[np.argmax(abs(modes), 0), np.arange(modes.shape[1])])
    return modes.reshape(len(mesh.position), 3, -1)


def _whole_eyes(
    mesh: Mesh, fields: dict[str, np.ndarray], at_eyes: dict[str, np.ndarray], reach: tuple[float, float] = (2.6, 1.5)
) -> dict[str, np.ndarray]:
    """Fields (v, 3) that about the eyes take the value (2, 3) of the eye's front: lids keep to their eyeballs."""
    shares = []
    for sign, ball in zip((1, -1), mesh.balls, strict=True):
        away = np.linalg.norm((mesh.anchor - mesh.anchor[ball[0]]) * [1, 1, 0.7], axis=1)
        shares.append(smoothstep(away, *reach) * (mesh.anchor[:, 0] * sign > 0))
    left, right = (share[:, None] for share in shares)
    return {
        name: field * (1 - left - right) + left * at_eyes[name][0] + right * at_eyes[name][1]
        for name, field in fields.items()
    }


def _ear_size(mesh: Mesh) -> np.ndarray:
    moved = np.zeros_like(mesh.position)
    for ids in mesh.ears:
        places = mesh.position[ids]
        root = np.array([np.sign(places[0, 0]) * 6.9, -1.6, 0.3])
        moved[ids] = (places - root) * [0.16, 0.07, 0.07]
    return moved


def _lid_motion(mesh: Mesh, share: float) -> np.ndarray:
    """Displacement (v, 3) of lids that turn about their eyeballs: share 1 closes them, below 0 opens them further."""
    moved = np.zeros_like(mesh.position)
    for k, sign in enumerate((1, -1)):
        centre = cm.EYE_CENTRE * [sign, 1, 1]
        offset = mesh.position - centre
        lift = np.arctan2(offset[:, 1], offset[:, 2])
        upper, lower = (lift[edge] for edge in mesh.lids[k])
        meet = lower + 0.12 * (upper - lower)
        columns = abs(mesh.angle[mesh.lids[k][0]])
        near = (np.isin(mesh.part, (SKIN, RIM))) & (mesh.angle * sign > 0)
        away = abs(mesh.level - cm.EYE_LEVEL)
        for up, turn in ((True, meet - upper), (False, meet - lower)):
            fade = smoothstep(away, 1.5 if up else 1.0, 0.0) * near * (mesh.side > 0 if up else mesh.side < 0)
            angle = share * fade * np.interp(abs(mesh.angle), columns, turn, 0.0, 0.0)
            y, z = offset[:, 1], offset[:, 2]
            moved[:, 1] += y * np.cos(angle) + z * np.sin(angle) - y
            moved[:, 2] += z * np.cos(angle) - y * np.sin(angle) - z
    return moved


def expression_basis(mesh: Mesh) -> np.ndarray:
    """(v, 3, 10), cm, in the order of EXPRESSIONS."""
    lips, lids, fields = _lip_share(mesh), _lid_motion(mesh, 1.0), _expressions(mesh)
    none = {name: np.zeros((2, 3)) for name in fields}
    fields = _whole_eyes(mesh, fields, none, (1.9, 1.0))
    result = []
    for name in EXPRESSIONS:
        field = fields.get(name, np.zeros_like(mesh.position))
        field[np.isin(mesh.part, (LEFT_EYE, RIGHT_EYE, LEFT_EAR, RIGHT_EAR))] = 0.0
        result.append(field * lips[:, None] + LIDS.get(name, 0.0) * lids)
    return np.stack(result, 2)


def _lip_share(mesh: Mesh) -> np.ndarray:
    """How far vertices (v,) follow the lips: the bag's inner lips do, its teeth do not, but all its corners do."""
    share = np.ones(len(mesh.position))
    across = np.linspace(-1, 1, mesh.bag.shape[1])
    share[mesh.bag] = abs(across) ** 3
    share[mesh.bag[[0, -1]]] = 1.0
    return share


def _expressions(mesh: Mesh) -> dict[str, np.ndarray]:
    p = mesh.anchor
    x, y, z = p.T
    side, out = mesh.side, _outwards(p)
    line = np.interp(abs(x), *_mouth_line(mesh))
    lip_up = np.where(y - line > -1e-6, np.exp(-np.clip(y - line, 0, None) / 1.0), 0) * (z > 4)
    lip_low = np.where(y - line < 1e-6, np.exp(-np.clip(line - y, 0, None) / 1.1), 0) * (z > 4)
    on_edge = abs(mesh.level - cm.MOUTH_LEVEL) < 1e-9
    lip_up, lip_low = np.where(on_edge & (side < 0), 0, lip_up), np.where(on_edge & (side > 0), 0, lip_low)
    centre = np.clip(1 - (x / 2.5) ** 2, 0, 1)
    corner = _blob(p, (2.6, -6.4, 8), (1.1, 1.0, 3))
    cheek = _blob(p, (3.9, -3.2, 7.2), (1.5, 1.3, 3))
    brow = _blob(p, (3.1, 2.3, 8), (2.5, 0.9, 4))
    inner_brow = _blob(p, (1.2, 2.0, 9), (1.1, 0.8, 3))
    mouth = _blob(p, (0, -6.4, 9), (2.6, 1.3, 3))
    smile = _push(x=0.42 * out, y=0.34, z=-0.22) * corner[:, None]
    smile = smile + _push(y=0.22, z=0.14, x=0.06 * out) * cheek[:, None]
    teeth = _push(y=0.16 * lip_up * centre - 0.1 * lip_low * centre, z=-0.1 * mouth)
    left = smoothstep(x, -0.5, 1.5)[:, None]
    return {
        "lips_apart": _push(y=(0.06 * lip_up - 0.2 * lip_low) * centre),
        "smile": smile + teeth,
        "sad": _push(y=-0.3, x=0.05 * out) * corner[:, None] + _push(y=0.26 * inner_brow + 0.05 * mouth),
        "pucker": _push(x=-0.17 * x * mouth, z=0.38 * mouth * centre),
        "brows_up": _push(y=0.4 * brow),
        "frown": _push(x=-0.16 * out, y=-0.26, z=0.1) * inner_brow[:, None] + _push(y=-0.1 * brow),
        "lip_raise": _push(y=0.2 * lip_up * centre + 0.12 * _blob(p, (1.3, -4, 9.6), (0.7, 0.8, 2))),
        "puff": _push(x=0.34 * out, z=0.2) * _blob(p, (4.4, -5.8, 6.5), (1.5, 1.6, 3))[:, None],
        "smirk": left * (0.8 * smile),
    }


def _mouth_line(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    half = mesh.position[mesh.lips[0, mesh.lips.shape[1] // 2 :]]
    return half[:, 0], half[:, 1]
