"""The painted texture: mean colours and named modes, all drawn from places on the neutral head."""

from __future__ import annotations

import numpy as np

from fgcli.procedural import parts
from fgcli.procedural import tables as cm
from fgcli.procedural.curves import bell, curve, smoothstep
from fgcli.procedural.mesh import LEFT_EAR, LEFT_EYE, MOUTH, RIGHT_EAR, RIGHT_EYE, RIM, SKIN, Mesh
from fgcli.procedural.texels import Texels, texels

SKIN_COLOUR = np.array([0.74, 0.555, 0.455])
BROW_COLOUR, HAIR_COLOUR, LASH_COLOUR = np.array([[0.25, 0.165, 0.12], [0.2, 0.135, 0.1], [0.14, 0.08, 0.07]])
LIP_COLOUR, BEARD_COLOUR, RIM_COLOUR = np.array([[0.66, 0.36, 0.33], [0.3, 0.22, 0.18], [0.47, 0.29, 0.25]])
SCLERA, IRIS, LIMBUS, PUPIL = np.array([[0.86, 0.84, 0.82], [0.3, 0.2, 0.13], [0.13, 0.09, 0.07], [0.03, 0.03, 0.03]])
TEETH, TONGUE, GUM, THROAT = np.array([[0.86, 0.83, 0.76], [0.55, 0.26, 0.25], [0.55, 0.27, 0.25], [0.1, 0.03, 0.03]])

BROW = curve([(1.0, 1.7), (2.2, 2.25), (3.4, 2.5), (4.4, 2.3), (5.4, 1.65)])
BROW_HALF = curve([(0.9, 0.2), (1.4, 0.34), (3.0, 0.3), (4.6, 0.2), (5.4, 0.08)])
UPPER_LIP = curve([(0.0, 0.72), (0.5, 0.82), (1.2, 0.62), (2.0, 0.3), (2.6, 0.0)])
LOWER_LIP = curve([(0.0, 1.02), (0.8, 0.97), (1.6, 0.66), (2.2, 0.32), (2.6, 0.0)])
"""By |x|: middle and half width of the brow; how far the red of the lips reaches from the mouth's line."""
HAIRLINE = curve(
    [
        *((0, 6.9), (25, 6.9), (42, 5.9), (56, 3.6), (64, 1.4), (72, -1.2), (79, -2.0), (86, -1.2)),
        *((100, -3.5), (115, -6.6), (180, -8.6)),
    ]
)
BEARD_LINE = curve([(0, -4.35), (10, -4.5), (16, -4.9), (26, -6.1), (45, -5.6), (62, -3.6), (76, -0.8), (90, -1.5)])
"""By |angle| in degrees: where hair ends, where beard begins (y)."""

NOISES = 7
TEXTURES = (
    *("melanin", "red", "yellow", "brow_dark", "lips_red", "lips_brown", "beard", "hair_light", "hair_red"),
    *("iris_blue", "iris_light", "blush", "socket"),
    *(f"noise_{k + 1}" for k in range(NOISES)),
)


def paint(mesh: Mesh, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3, size, size) in [0, 1] and modes (20, 3, size, size), in the order of TEXTURES."""
    t = texels(mesh, size)
    masks = _masks(t, mesh)
    mean = _mean(t, masks)
    modes = [value * np.asarray(colour) for value, colour in _modes(t, masks)]
    mean, basis = np.clip(mean, 0, 1), np.stack(modes)
    to_image = (-1, size, size, 3)
    images = np.concatenate([mean[None], basis]).reshape(to_image).transpose(0, 3, 1, 2).astype(np.float32)
    return images[0], images[1:]


def _masks(t: Texels, mesh: Mesh) -> dict[str, np.ndarray]:
    """Coverage (n,) in [0, 1] of everything that has a colour of its own."""
    x, y, z = abs(t.position[:, 0]), t.position[:, 1], t.position[:, 2]
    skin, ear = t.part == SKIN, np.isin(t.part, (LEFT_EAR, RIGHT_EAR))
    front = skin & (z > 3)
    masks = {
        "nostril": bell(x, y, (0.58, -4.24, 0.24, 0.13), 3.0) * front,
        "wing": bell(x, y, (1.72, -3.85, 0.13, 0.42)) * front,
        "blush": bell(x, y, (4.2, -2.8, 1.5, 1.2)) * front + 0.5 * bell(x, y, (0, -3.3, 0.9, 0.8)) * front + 0.4 * ear,
        "socket": bell(x, y, (2.9, -0.1, 1.5, 1.0)) * front,
        "under": bell(x, y, (2.7, -1.0, 1.2, 0.4)) * front,
        "neck": smoothstep(t.level, 11.3, 13.5) * skin,
        "fold": bell(x - 0.42 * np.clip(-3.6 - y, 0, 3), y, (1.85, -4.9, 0.16, 0.9)) * front,
    }
    from_concha = np.hypot(abs(t.uv[:, 0] - 0.5) + 0.5 - parts.UV_EAR[0], t.uv[:, 1] - parts.UV_EAR[1])
    masks["concha"] = ear * smoothstep(from_concha, 0.04, 0.01)
    masks["behind"] = ear * smoothstep(from_concha, 0.066, 0.078)
    masks |= _lid_masks(t, mesh, front)
    masks |= _hair_masks(t, mesh, front)
    masks["skin"] = (skin | ear) * (1 - masks["hair"]) * (1 - 0.7 * masks["brow"]) * (1 - 0.6 * masks["lips"])
    return masks


def _lid_masks(t: Texels, mesh: Mesh, front: np.ndarray) -> dict[str, np.ndarray]:
    x, y = abs(t.position[:, 0]), t.position[:, 1]
    edges = [mesh.position[row] for row in mesh.lids[0]]
    above, below = (y - np.interp(x, edge[:, 0], edge[:, 1]) for edge in edges)
    on_lid = smoothstep(x, 1.55, 1.9) * smoothstep(x, 4.65, 4.45) * front
    upper = np.exp(-((np.maximum(above, 0) / 0.11) ** 2)) * (above > -0.3)
    lower = np.exp(-((np.minimum(below, 0) / 0.08) ** 2)) * (below < 0.3)
    rim = t.part == RIM
    return {
        "lash": np.clip((upper + 0.45 * lower) * on_lid, 0, 1),
        "crease": np.exp(-(((above - 0.34) / 0.09) ** 2)) * on_lid,
        "rim": rim * 1.0,
        "upper rim": (rim & (above + below > 0)) * smoothstep(x, 1.65, 1.95),
    }


def _hair_masks(t: Texels, mesh: Mesh, front: np.ndarray) -> dict[str, np.ndarray]:
    """Hair, brows, beard; and the lips, which have none."""
    x, y, angle, skin = abs(t.position[:, 0]), t.position[:, 1], abs(t.angle), t.part == SKIN
    edge = mesh.position[mesh.lips[0, mesh.lips.shape[1] // 2 :]]
    line = y - np.interp(x, edge[:, 0], edge[:, 1])
    lips = smoothstep(np.where(line > 0, UPPER_LIP(x) - line, LOWER_LIP(x) + line), -0.07, 0.07)
    lips = lips * smoothstep(x, 2.7, 2.45) * front
    wave = 0.1 * np.sin(3.1 * x + 1) + 0.08 * np.sin(7.3 * x)
    beard = smoothstep(y - BEARD_LINE(angle), 1.0, -1.0) * smoothstep(t.level, 15.0, 11.0) * smoothstep(angle, 92, 76)
    brow = smoothstep(abs(y - BROW(x)) / BROW_HALF(x), 1.35, 0.5) * smoothstep(x, 0.75, 1.4) * smoothstep(x, 5.6, 4.7)
    return {
        "lips": lips,
        "line": np.exp(-((line / 0.07) ** 2)) * (x < 2.6) * front,
        "hair": smoothstep(y - HAIRLINE(angle) + wave * (angle < 60), -0.5, 0.5) * skin,
        "brow": brow * front,
        "beard": beard * (1 - 0.95 * lips) * (1 - 0.5 * bell(x, line, (0, -1.5, 0.9, 0.3))) * skin,
    }


def _mean(t: Texels, masks: dict[str, np.ndarray]) -> np.ndarray:
    """Colours (n, 3)."""
    colour = np.tile(SKIN_COLOUR, (len(t.part), 1))

    def lay(share: np.ndarray, over: np.ndarray) -> None:
        colour[:] += share[:, None] * (over - colour)

    colour += masks["blush"][:, None] * [0.03, -0.03, -0.03]
    colour *= 1 - masks["socket"][:, None] * [0.1, 0.13, 0.12] - masks["under"][:, None] * [0.04, 0.06, 0.05]
    colour *= 1 - masks["neck"][:, None] * 0.14 - masks["fold"][:, None] * 0.07
    colour *= 1 - masks["crease"][:, None] * [0.25, 0.3, 0.3] - masks["wing"][:, None] * [0.08, 0.11, 0.11]
    colour *= 1 - masks["concha"][:, None] * [0.35, 0.45, 0.45]
    lay(0.08 * masks["beard"], BEARD_COLOUR)
    lay(0.8 * masks["lips"], LIP_COLOUR)
    lay(0.75 * masks["line"], np.array([0.28, 0.12, 0.11]))
    lay(0.85 * masks["nostril"], np.array([0.16, 0.08, 0.07]))
    lay(0.85 * masks["brow"], BROW_COLOUR)
    lay(0.97 * masks["hair"], HAIR_COLOUR)
    lay(0.5 * masks["behind"], HAIR_COLOUR)
    lay(masks["rim"], RIM_COLOUR)
    lay(0.6 * masks["upper rim"], LASH_COLOUR)
    lay(0.75 * masks["lash"], LASH_COLOUR)
    _paint_mouth(t, colour)
    _paint_eyes(t, colour)
    return colour


def _paint_mouth(t: Texels, colour: np.ndarray) -> None:
    inside = t.part == MOUTH
    first, last = parts.bag_v(0), parts.bag_v(len(parts.BAG) - 1)
    row = (t.uv[inside, 1] - first) / (last - first) * (len(parts.BAG) - 1)
    across = (t.uv[inside, 0] - 0.5) / (parts.UV_MOUTH[1] - 0.5)
    depth = [(-1, 1.0), (0, 0.9), (1, 0.8), (2.9, 1.0), (3.2, 0.5), (4, 0.3), (5, 0.2), (6, 0.75), (7.5, 0.5), (8, 0.8)]
    shade = curve([*depth, (9.5, 0.75), (10, 0.9), (11, 1.0)])(row) * smoothstep(abs(across), 1.02, 0.55)
    teeth = smoothstep(row, 1.0, 1.25) * smoothstep(row, 2.5, 2.35)
    teeth += smoothstep(row, 7.6, 7.9) * smoothstep(row, 9.0, 8.85)
    gap = smoothstep(abs(np.sin(np.pi * across * 5)), 0.3, 0.0) * teeth
    tongue, throat = (row > 5.4) & (row < 7.4), (row > 3.2) & (row <= 5.4)
    base = np.where(tongue[:, None], TONGUE, np.where(throat[:, None], THROAT, GUM))
    base = base + teeth[:, None] * (TEETH - base)
    base = base * (1 - 0.25 * gap[:, None])
    colour[inside] = base * shade[:, None]


def _paint_eyes(t: Texels, colour: np.ndarray) -> None:
    for part, sign in ((LEFT_EYE, 1), (RIGHT_EYE, -1)):
        eye = t.part == part
        off = t.position[eye] - cm.EYE_CENTRE * [sign, 1, 1]
        radius = np.hypot(off[:, 0], off[:, 1]) + 3.0 * (off[:, 2] < 0)
        ball = np.tile(SCLERA, (len(off), 1))
        ball -= 0.14 * smoothstep(radius, 0.9, 1.35)[:, None] * [0.6, 1, 1]
        ball *= 1 - 0.35 * smoothstep(off[:, 1], 0.1, 0.65)[:, None]  # the upper lid's shadow
        iris = smoothstep(radius, cm.IRIS_RADIUS + 0.04, cm.IRIS_RADIUS - 0.04)[:, None]
        limbus = smoothstep(radius, cm.IRIS_RADIUS - 0.17, cm.IRIS_RADIUS - 0.02)[:, None]
        ball += iris * (IRIS + limbus * (LIMBUS - IRIS) - ball)
        ball += smoothstep(radius, 0.28, 0.2)[:, None] * (PUPIL - ball)
        glint = bell(off[:, 0], off[:, 1], (-0.17, 0.2, 0.075, 0.075))[:, None]
        colour[eye] = ball + 0.75 * glint * (1 - ball)


def _modes(t: Texels, masks: dict[str, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray | list[float]]]:
    """Coverage (n, 1) and change of colour (3,) of each mode, in the order of TEXTURES."""
    m = {name: mask[:, None] for name, mask in masks.items()}
    skin = m["skin"] * (1 - 0.85 * m["nostril"]) * (1 - 0.6 * m["lash"])
    skin = np.maximum(skin, 0.5 * m["rim"])
    iris = np.zeros_like(skin)
    for part, sign in ((LEFT_EYE, 1), (RIGHT_EYE, -1)):
        off = t.position - cm.EYE_CENTRE * [sign, 1, 1]
        radius = np.hypot(off[:, 0], off[:, 1]) + 3.0 * (off[:, 2] < 0)
        ring = smoothstep(radius, cm.IRIS_RADIUS, cm.IRIS_RADIUS - 0.12) * smoothstep(radius, 0.22, 0.3)
        iris[:, 0] += np.where(t.part == part, ring, 0)
    modes: list[tuple[np.ndarray, np.ndarray | list[float]]] = [
        (skin, [-0.116, -0.101, -0.086]), (skin, [0.014, -0.012, -0.01]), (skin, [0.006, 0.003, -0.02]),
        (m["brow"], [-0.06, -0.045, -0.035]), (m["lips"], [0.02, -0.045, -0.035]), (m["lips"], [-0.05, -0.035, -0.03]),
        (m["beard"], 0.17 * (BEARD_COLOUR - SKIN_COLOUR)), (m["hair"], [0.11, 0.085, 0.055]),
        (m["hair"], [0.035, -0.004, -0.014]), (iris, [-0.045, 0.035, 0.11]), (iris, [0.07, 0.065, 0.045]),
        (m["blush"] * skin, [0.012, -0.02, -0.016]), ((m["socket"] + m["under"]) * skin, [-0.035, -0.035, -0.03]),
    ]  # fmt: skip
    random = np.random.default_rng(17)
    for _ in range(NOISES):
        wave, phase = random.normal(size=(4, 3)) * 0.55, random.uniform(0, 2 * np.pi, 4)
        noise = np.cos(t.position @ wave.T + phase).sum(1, keepdims=True) / 2
        modes.append((noise * skin, 0.014 * (np.ones(3) + 0.12 * random.normal(size=3))))
    return modes
