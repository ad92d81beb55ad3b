"""What is drawn and written of fitted heads: fits, turntables, interpolations, meshes, parameters."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fgcli.config.fields import whole
from fgcli.errors import FgError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from fgcli.artifacts import Artifact
    from fgcli.heads.head import Head
    from fgcli.heads.parameters import Parameters

Skin = Literal["photo", "model", "clay", "normals"]
FORMATS = (".obj", ".ply", ".npz")


def render(
    what: list[str],
    output: Path,
    *,
    flame: Path,
    faces: Path,
    frames: int,
    yaw: float,
    size: int,
    skin: Skin,
) -> dict[str, Any]:
    """One head: from -yaw to yaw, in `frames` pictures. Two: from the first to the second. Writes one strip.

    Raises:
        FgError: rows or files that are not there.
    """
    import torch

    from fgcli.fitting.views import between, turned
    from fgcli.heads.render import normal_image
    from fgcli.reports.grid import picture_format, save_picture, sheet
    from fgcli.reports.heads import u8

    picture_format(output)
    if len(what) > 2 or not what:
        raise UsageError(f"fg flame render: expected one head to turn or two to interpolate, found {len(what)}")
    if frames < 2:
        raise UsageError(f"--frames: expected at least 2, found {frames}")
    known = _all_parameters(what, flame)
    with torch.no_grad():
        head = _head(flame)
        skins = _skins(head, known, what, flame, faces, skin)
        shares = torch.linspace(0, 1, frames)
        if len(known) == 1:
            drawn = turned(head, known, (2 * shares - 1) * yaw * torch.pi / 180, skins, size)
            pictures = u8(normal_image(drawn) if skin == "normals" else drawn.image)
        else:
            rows = between(known.rows([0]), known.rows([1]), shares)
            pictures = []
            for i, t in enumerate(shares):
                mixed = None if skins is None else skins[:1].lerp(skins[1:], t)
                drawn = turned(head, rows.rows([i]), torch.zeros(1), mixed, size)
                pictures += u8(normal_image(drawn) if skin == "normals" else drawn.image)
    save_picture(output, sheet([pictures]))
    return {"output": str(output), "frames": frames}


def fits(what: list[str], output: Path, *, flame: Path, faces: Path, size: int) -> dict[str, Any]:
    """A row of pictures per face: photo, mesh, landmarks found and fitted, normals, render.

    Raises:
        FgError: rows or files that are not there.
    """
    from fgcli import artifacts
    from fgcli.fitting.extract import same_head
    from fgcli.reports.grid import picture_format, save_picture, sheet
    from fgcli.reports.heads import TITLES, tiles

    picture_format(output)
    stored = artifacts.load(flame, artifacts.FLAME)
    _verify_photos(stored, flame, faces)
    rows = [_row(item, len(stored["status"]), flame) for item in what]
    landmarks = artifacts.load(faces, names=("landmarks",))["landmarks"]
    head = same_head(stored.meta["head"], flame)
    drawn = tiles(head, artifacts.rows(faces, "images"), landmarks, stored.arrays, rows, size)
    save_picture(output, sheet(drawn, [str(row) for row in rows], TITLES))
    return {"output": str(output), "heads": len(rows)}


def export(
    what: list[str], output: Path, *, flame: Path, faces: Path, skin: Skin, neutral: bool, order: str
) -> dict[str, Any]:
    """Writes a mesh (.obj, .ply), or the parameters of all heads named (.npz), by default of all rows that are ok.

    By `order` they are one vector per head, or a sequence of VHAP's.

    Raises:
        FgError: rows or files that are not there, or an ending that is none of FORMATS.
    """
    import torch

    from fgcli.foreign.mesh_files import Mesh, coloured, write_obj, write_ply
    from fgcli.foreign.vhap import save_vhap
    from fgcli.heads.parameters import save_npz

    if output.suffix not in FORMATS:
        raise UsageError(f"--output {output}: expected a name that ends in {', '.join(FORMATS)}, found another")
    if order and output.suffix != ".npz":
        raise UsageError(f"--order {order}: expected a name that ends in .npz, found {output.name}; rename it")
    known = _all_parameters(what or (_rows(flame) if output.suffix == ".npz" else []), flame)
    if output.suffix == ".npz":
        about = save_vhap(output, _head(flame), known) if order == "vhap" else {}
        if not about:
            save_npz(output, known, order or None, _told(what, flame))
        return {"output": str(output), "heads": len(known), **about}
    if len(known) != 1:
        raise UsageError(f"{output}: expected one head for a mesh, found {len(known)}; export them one by one")
    with torch.no_grad():
        head = _head(flame)
        skins = _skins(head, known, what, flame, faces, skin)
        pose = torch.zeros_like(known.pose) if neutral else known.pose
        vertices = head.vertices(known.shape, torch.zeros_like(known.expression) if neutral else known.expression, pose)
    mesh = Mesh(vertices[0].numpy(), head.faces.numpy())
    if skins is not None:
        mesh = Mesh(mesh.vertices, mesh.faces, head.uv.numpy(), head.uv_faces.numpy(), skins[0].numpy())
    written = (
        write_obj(output, mesh)
        if output.suffix == ".obj"
        else write_ply(output, coloured(mesh) if skins is not None else mesh)
    )
    return {"output": [str(path) for path in written], "vertices": len(mesh.vertices), "faces": len(mesh.faces)}


def _head(flame: Path) -> Head:
    """The head that flame.h5 is about; the procedural one where there is no such file."""
    from fgcli import artifacts
    from fgcli.fitting.extract import same_head
    from fgcli.procedural import procedural_head

    if not flame.exists():
        return procedural_head()
    return same_head(artifacts.load(flame, artifacts.FLAME, ()).meta["head"], flame)


def _rows(flame: Path) -> list[str]:
    """The rows of flame.h5 whose status is ok."""
    from fgcli import artifacts

    status = artifacts.load(flame, artifacts.FLAME, ("status",))["status"]
    return [str(row) for row, told in enumerate(status) if told == "ok"]


def _told(what: list[str], flame: Path) -> str:
    """The sha256 of the head that rows are of; "" where files of parameters are among them, which do not tell."""
    from fgcli import artifacts

    if any(whole(item) is None for item in what):
        return ""
    return str(artifacts.load(flame, artifacts.FLAME, ()).meta["head"]["sha256"])


def _all_parameters(what: list[str], flame: Path) -> Parameters:
    """Rows of flame.h5, and heads in .npz files, in the order given."""
    from fgcli import artifacts
    from fgcli.heads.parameters import SIZES, Parameters, load_npz

    if not what:
        raise UsageError("ROW|NPZ: expected at least one head, found none; name a row")
    found = []
    for item in what:
        if item.endswith(".npz"):
            found.append(load_npz(Path(item)))
            continue
        stored = artifacts.load(flame, artifacts.FLAME, (*SIZES, "status"))
        row = _row(item, len(stored["status"]), flame, " or an .npz file")
        found.append(Parameters.from_arrays(stored.arrays).rows([row]))
    return Parameters.joined(found)


def _row(item: str, n: int, flame: Path, other: str = "") -> int:
    row = whole(item)
    if row is None or row >= n:
        neither = "neither" if other else "another"
        raise UsageError(f"{item}: expected a row of {flame} (0 to {n - 1}){other}, found {neither}")
    return row


def _verify_photos(stored: Artifact, flame: Path, faces: Path, instead: str = "") -> None:
    from fgcli import artifacts

    if stored.inputs["faces"] != artifacts.sha256(faces):
        raise FgError(f"{faces}: expected the faces of {flame}, found others; give the right --faces{instead}")


def _skins(head: Head, p: Parameters, what: list[str], flame: Path, faces: Path, skin: Skin) -> Tensor | None:
    """Textures (n, 3, h, w) of the heads: from their photos, or the fitted albedo; None for clay and normals."""
    import torch

    from fgcli import artifacts
    from fgcli.fitting.views import photo_texture

    if skin in ("clay", "normals"):
        return None
    if not len(head.uv):
        raise FgError(f"head {head.name}: expected a texture space, found none; import one or use --skin clay")
    if skin == "model":
        return head.albedo(p.texture)
    rows = [row for item in what if (row := whole(item)) is not None]
    if len(rows) < len(what):
        raise UsageError("--skin photo: expected rows, whose photos are in faces.h5, found an .npz; use --skin model")
    _verify_photos(artifacts.load(flame, artifacts.FLAME, ()), flame, faces, " or use --skin model")
    images, masks = (torch.from_numpy(artifacts.rows(faces, name)[rows]).float() / 255 for name in ("images", "masks"))
    return photo_texture(head, images.movedim(3, 1), masks[:, None], p)
