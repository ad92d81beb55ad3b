"""FLAME from the user's own files: recognised by content, checked, kept as HDF5, put together to a head.

Nothing of FLAME comes with fg. Which files there are, and under which terms, says `fg assets list`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fgcli import artifacts, assets
from fgcli.errors import FgError, UsageError
from fgcli.foreign import deca_files, head_parts, mesh_files, pickles
from fgcli.foreign.head_parts import Parser, Reader
from fgcli.heads.head import JAW_POINTS, LANDMARKS, MAX_YAW_DEG, PARENTS, Head

SHAPE_MODES = 300
MODES = 400
"""Of shapedirs: the first 300 are identity, the rest expression."""
TEXTURE_SIDE = 256
TEXTURE_MODES = 50
"""Modes of the texture that are loaded; more are stored."""
TEXTURES = {"flame": "flame_texture", "bfm": "flame_texture_bfm"}
CLEAR = 0.2
"""How sure `silhouette` must be to overrule the kind of a file."""
ROWS = 2 * MAX_YAW_DEG + 1


def parse_model(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """generic_model.pkl of 2016 to 2023, flame2023_Open.pkl, FLAME_NEUTRAL.pkl or .npz."""
    keys = ("v_template|template_v", "f", "shapedirs|blendshapes", "posedirs", "J_regressor|joint_regressor")
    reader = Reader(path, content, (*keys, "weights", "kintree_table"))
    template, faces = reader.floats(keys[0], "v 3"), reader.ids("f", "f 3", below="v")
    modes = reader.floats(keys[2], f"v 3 {MODES}")
    parents = reader.ids("kintree_table", "2 5")[0].tolist()
    if parents[1:] != list(PARENTS[1:]):
        reader.refuse(f"joints with the parents {list(PARENTS)}", str(parents))
    weights = reader.floats("weights", "v 5")
    if not np.allclose(weights.sum(1), 1, atol=1e-3):
        reader.refuse("skinning weights that sum to 1", "others")
    arrays = {
        "template": template,
        "shape_basis": modes[..., :SHAPE_MODES],
        "expression_basis": modes[..., SHAPE_MODES:],
        "pose_basis": reader.floats("posedirs", "v 3 36"),
        "joint_regressor": reader.floats(keys[4], "5 v"),
        "weights": weights,
    }
    return {key: array.astype(np.float32) for key, array in arrays.items()} | {"faces": faces}


def parse_landmarks(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """landmark_embedding.npy, as DECA publishes it: its yaw has our sign."""
    kinds = ("full_lmk", "dynamic_lmk")
    reader = Reader(path, content, tuple(f"{k}_{what}" for k in kinds for what in ("faces_idx", "bary_coords")))
    return {
        "landmark_faces": reader.ids("full_lmk_faces_idx", f"{LANDMARKS}"),
        "landmark_weights": _barycentric(reader, "full_lmk_bary_coords", f"{LANDMARKS} 3"),
        "contour_faces": reader.ids("dynamic_lmk_faces_idx", f"{ROWS} {JAW_POINTS}"),
        "contour_weights": _barycentric(reader, "dynamic_lmk_bary_coords", f"{ROWS} {JAW_POINTS} 3"),
    }


def parse_static(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """flame_static_embedding.pkl: the 51 landmarks that stay on their place of the skin."""
    reader = Reader(path, content, ("lmk_face_idx", "lmk_b_coords"))
    count = LANDMARKS - JAW_POINTS
    faces = reader.ids("lmk_face_idx", f"{count}")
    return {"landmark_faces": faces, "landmark_weights": _barycentric(reader, "lmk_b_coords", f"{count} 3")}


def parse_dynamic(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """flame_dynamic_embedding.npy, which FLAME_PyTorch, smplx and RingNet read: its yaw has the other sign."""
    reader = Reader(path, content, ("lmk_face_idx", "lmk_b_coords"))
    faces = reader.ids("lmk_face_idx", f"{ROWS} {JAW_POINTS}")
    weights = _barycentric(reader, "lmk_b_coords", f"{ROWS} {JAW_POINTS} 3")
    return {"contour_faces": mirrored_yaw(faces), "contour_weights": mirrored_yaw(weights)}


def parse_texture(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """FLAME_texture.npz: colours from 0 to 255, blue first."""
    reader = Reader(path, content, ("mean", "tex_dir", "vt", "ft"))
    colours = _colours(reader, "mean", "tex_dir", 255.0)
    uv = reader.floats("vt", "t 2").astype(np.float32)
    return {**colours, "uv": uv, "uv_faces": reader.ids("ft", "f 3", below="t")}


def parse_bfm(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """FLAME_albedo_from_BFM.npz: colours from 0 to 1, blue first."""
    if "specMU" in content:
        Reader(path, content, ()).refuse("FLAME_albedo_from_BFM.npz", "AlbedoMM, whose colours are linear light")
    return _colours(Reader(path, content, ("MU", "PC")), "MU", "PC", 1.0)


def parse_masks(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """FLAME_masks.pkl: vertex ids by the name of the region."""
    reader = Reader(path, content, ("face", "neck", "scalp"))
    return {name: reader.ids(name, f"{name}_size") for name in content}


def parse_template(path: Path, content: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """head_template.obj: only its texture coordinates."""
    reader = Reader(path, content, ("uv", "uv_faces"))
    uv = reader.floats("uv", "t 2").astype(np.float32)
    return {"uv": uv, "uv_faces": reader.ids("uv_faces", "f 3", below="t")}


PARTS: dict[str, tuple[Parser, tuple[str, ...]]] = {
    "flame_model": (parse_model, ("v_template", "template_v", "shapedirs", "posedirs", "J_regressor")),
    "flame_landmarks": (parse_landmarks, ("full_lmk_faces_idx", "dynamic_lmk_faces_idx", "full_lmk_bary_coords")),
    "flame_landmarks_static": (parse_static, ("lmk_face_idx", "lmk_b_coords")),
    "flame_landmarks_dynamic": (parse_dynamic, ("lmk_face_idx", "lmk_b_coords")),
    "flame_texture": (parse_texture, ("tex_dir",)),
    "flame_texture_bfm": (parse_bfm, ("MU", "PC")),
    "flame_template": (parse_template, ("uv_faces",)),
    "flame_masks": (parse_masks, ("scalp", "left_eyeball", "forehead")),
    "deca": (deca_files.parse, ("E_flame", "E_detail")),
}
"""How each file is checked, and keys one of which tells it from the others."""


def import_file(path: Path, name: str | None = None) -> tuple[assets.Asset, Path]:
    """Checks a published file, whatever its name, and stores it in the assets folder, whole or not at all.

    Raises:
        FgError: none of PARTS, or a damaged one; says what is missing.
    """
    assets.verify_download(path)
    content = _content(path)
    name = name or recognise(path, content)
    arrays = PARTS[name][0](path, content)
    return assets.ASSETS[name], head_parts.save(name, path, arrays)


def recognise(path: Path, content: Mapping[str, Any]) -> str:
    """Which of PARTS a file is, by its keys."""
    name = next((name for name, (_, keys) in PARTS.items() if any(key in content for key in keys)), None)
    if name is None and {"G_ema", "g_ema", "generator_running"} & content.keys():
        raise UsageError(f"{path}: expected -o generator.h5 for a StyleGAN2 checkpoint, found none; say where it goes")
    if name is None:
        names = ", ".join(alias for part in PARTS for alias in assets.ASSETS[part].aliases[:1])
        keys = ", ".join(list(content)[:6]) or "nothing"
        raise FgError(f"{path}: expected one of {names}, found a file that holds {keys}; see fg assets list")
    if name == "flame_landmarks_static" and Reader(path, content, ("lmk_face_idx",)).floats("lmk_face_idx").ndim > 1:
        return "flame_landmarks_dynamic"
    return name


def flame_head(
    texture: Literal["auto", "flame", "bfm", "none"] = "auto", contour_sign: Literal["auto", "+", "-"] = "auto"
) -> Head:
    """FLAME (Li et al. 2017) from the imported files. Landmarks and texture may lack until something needs them.

    Args:
        texture: "flame", "bfm", "none", or "auto": the first of those that was imported.
        contour_sign: of the yaw in the file of the jaw's outline: "+" as DECA reads it, "-" as smplx does, or "auto":
            the one under which the outline lies on the turned head's silhouette, else that of the file's kind.

    Raises:
        FgError: no model, no texture of the chosen kind, or files that do not fit each other.
    """
    model = head_parts.load("flame_model", "flame.head.name=flame")
    assert model is not None
    arrays = _arrays(model)
    arrays |= _landmarks(arrays, contour_sign)
    arrays |= _texture(texture, len(arrays["faces"]))
    masks = head_parts.load("flame_masks")
    regions = _arrays(masks) if masks else {}
    for region, ids in regions.items():
        assert masks is not None
        _fits(masks, f"vertex ids of {region}", ids, len(arrays["template"]))
    notice = f"{model.meta['name']}: {model.meta['licence']}"
    given: dict[str, Any] = arrays
    return Head(**given, name="flame", regions=regions, notice=notice, source=model.meta["source_sha256"])


def mirrored_yaw(table: np.ndarray) -> np.ndarray:
    """The table (79, ...) of the jaw's outline with the sign of its yaw changed."""
    half = MAX_YAW_DEG + 1
    return np.concatenate([table[:1], table[half:], table[1:half]])


def silhouette(template: np.ndarray, faces: np.ndarray, contour: Mapping[str, np.ndarray]) -> float:
    """Whether the yaw of an outline's table has our sign, from 1 (surely) to -1 (surely the other).

    When the face turns to image right, the outline there moves forward onto the cheek, and at image left back to the
    ear: sin(yaw) (z of the points right of the chin - z of those left of it) is positive.
    """
    points = (template[faces[contour["contour_faces"]]] * contour["contour_weights"][..., None]).sum(2)  # (79, 17, 3)
    yaw = np.deg2rad(np.r_[: MAX_YAW_DEG + 1, -1 : -MAX_YAW_DEG - 1 : -1])
    side = np.sign(np.arange(JAW_POINTS) - JAW_POINTS // 2)
    forward = np.sin(yaw) * (points[..., 2] @ side)
    return float(forward.sum() / np.abs(forward).sum().clip(1e-12))


def _content(path: Path) -> Mapping[str, Any]:
    if pickles.is_torch_file(path):
        return deca_files.read(path)
    with open(path, "rb") as file:
        start = file.read(4096)
    if b"\nv " in b"\n" + start:
        mesh = mesh_files.read_obj(path)
        return {"uv": mesh.uv, "uv_faces": mesh.uv_faces}
    return pickles.load(path)


def _barycentric(reader: Reader, key: str, axes: str) -> np.ndarray:
    weights = reader.floats(key, axes)
    if not np.allclose(weights.sum(-1), 1, atol=1e-3):
        reader.refuse(f"barycentric weights that sum to 1 in {key}", "others")
    return weights.astype(np.float32)


def _colours(reader: Reader, mean: str, modes: str, white: float) -> dict[str, np.ndarray]:
    """The albedo, red first; of 512 texels every second one, which is the nearest in DECA's sense."""
    average, directions = reader.floats(mean), reader.floats(modes)
    side = math.isqrt(average.size // 3)
    if 3 * side * side != average.size or directions.size % average.size or not directions.size:
        reader.refuse(f"{mean} (h, h, 3) and {modes} (h, h, 3, k)", f"{average.shape} and {directions.shape}")
    step = max(1, side // TEXTURE_SIDE)
    pictures = [array.reshape(side, side, 3, -1)[::step, ::step, ::-1] for array in (average, directions)]
    first, rest = (np.ascontiguousarray(p.transpose(3, 2, 0, 1), np.float32) / np.float32(white) for p in pictures)
    return {"albedo_mean": first[0], "albedo_basis": rest}


def _arrays(part: artifacts.Artifact) -> dict[str, np.ndarray]:
    names = [name for name in artifacts.layout(part.path) if name.startswith("arrays/")]
    return artifacts.load(part.path, names=tuple(names)).group("arrays")


def _landmarks(model: Mapping[str, np.ndarray], sign: str) -> dict[str, np.ndarray]:
    """The 68 landmarks and the jaw's outline, in our sign of yaw; nothing where no embedding was imported."""
    whole = head_parts.load("flame_landmarks")
    parts = [whole] if whole else [head_parts.load(f"flame_landmarks_{kind}") for kind in ("static", "dynamic")]
    if None in parts:
        return {}
    found: dict[str, np.ndarray] = {}
    for part in parts:
        assert part is not None
        own = _arrays(part)
        for key in own.keys() & {"landmark_faces", "contour_faces"}:
            _fits(part, "triangles of the model", own[key], len(model["faces"]))
        found |= own
    for key in ("faces", "weights"):
        if len(found[f"landmark_{key}"]) < LANDMARKS:
            jaw = found[f"contour_{key}"][0]
            found[f"landmark_{key}"] = np.concatenate([jaw, found[f"landmark_{key}"]])
    score = silhouette(model["template"], model["faces"], found)
    kind = "+" if whole else "-"
    if score < -CLEAR if sign == "auto" else sign != kind:
        found |= {key: mirrored_yaw(found[key]) for key in ("contour_faces", "contour_weights")}
    return found


def _texture(kind: str, triangles: int) -> dict[str, np.ndarray]:
    """Albedo and texture coordinates; nothing of what was not imported."""
    if kind == "auto":
        kind = next((k for k, name in TEXTURES.items() if assets.find(name)), "none")
    colours = None if kind == "none" else head_parts.load(TEXTURES[kind], f"flame.head.texture={kind}")
    places = next((part for name in ("flame_template", "flame_texture") if (part := head_parts.load(name))), None)
    if colours and not places:
        raise FgError(
            f"{colours.path}: expected texture coordinates beside it, found none; run fg assets import "
            "head_template.obj, or set flame.head.texture=none"
        )
    found: dict[str, np.ndarray] = {}
    if places:
        found = artifacts.load(places.path, names=("arrays/uv", "arrays/uv_faces")).group("arrays")
        if len(found["uv_faces"]) != triangles:
            raise FgError(
                f"{places.path}: expected {triangles} triangles as in flame_model, found {len(found['uv_faces'])}; "
                "import files of one FLAME"
            )
    if colours:
        found["albedo_mean"] = artifacts.load(colours.path, names=("arrays/albedo_mean",))["arrays/albedo_mean"]
        found["albedo_basis"] = np.array(artifacts.rows(colours.path, "arrays/albedo_basis")[:TEXTURE_MODES])
    return found


def _fits(part: artifacts.Artifact, what: str, ids: np.ndarray, count: int) -> None:
    if ids.size and ids.max() >= count:
        raise FgError(f"{part.path}: expected {what} below {count}, found {ids.max()}; import files of one FLAME")
