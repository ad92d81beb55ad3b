"""Sequences of a head's expression and pose in the names of other programs, a row per frame: .npz, .npy or .csv.

Known are fg's own names (`fg flame export`), DECA's (exp, pose of 6: head and jaw), FLAME's as compute_FLAME_params of
VOCA writes them (expression, pose of 15: head, neck, jaw and eyes), smplx's (expression, global_orient, neck_pose,
jaw_pose) and VHAP's (expr, rotation, neck_pose, jaw_pose). In a .csv a column holds one number: exp_0, exp_1 and so on.
Rotations are axis-angles, radians. The neck turns the head, too; shape, texture, camera and light are not followed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fgcli.console import say
from fgcli.errors import FgError, UsageError, reason
from fgcli.foreign import pickles
from fgcli.heads.head import axis_angle, rotation_matrices
from fgcli.heads.parameters import ORDERS, SIZES, Parameters

NAMES = {
    "expression": ("expression", "exp", "expr"),
    "pose": ("pose",),
    "head": ("global_orient", "rotation"),
    "neck": ("neck_pose",),
    "jaw": ("jaw_pose", "jaw"),
}
"""What a column may be called."""
WIDTHS = {"pose": (6, 15), "head": (3,), "neck": (3,), "jaw": (3,)}
"""Numbers a frame, where they are fixed."""
FOREIGN = {"exp", "expr", "cam", "tex", "betas", "global_orient", "rotation", "neck_pose"}
"""Names that fg does not write: a file that has one of them is about FLAME."""
ENDINGS = (".npz", ".npy", ".csv")


@dataclass(frozen=True)
class Sequence:
    """What a file says of n frames; None: nothing.

    Attributes:
        expression: (n, 50). head, jaw: axis-angles (n, 3).
        about: the sha256 of the head that it is of, "flame" where its names say no more, "" where nothing does.
    """

    path: Path
    expression: Tensor | None
    head: Tensor | None
    jaw: Tensor | None
    about: str

    def __len__(self) -> int:
        return len(next(v for v in (self.expression, self.head, self.jaw) if v is not None))

    def applied(self, p: Parameters) -> Parameters:
        """One head (a single row) in every frame: what the file does not say stays as it is."""
        rows = p.rows([0] * len(self))
        head, jaw = (
            rows.pose[:, part] if value is None else value
            for value, part in ((self.head, slice(0, 3)), (self.jaw, slice(3, 6)))
        )
        expression = rows.expression if self.expression is None else self.expression
        return rows.replace(expression=expression, pose=torch.cat([head, jaw], 1))

    def verify(self, head: Mapping[str, Any]) -> None:
        """Raises FgError unless the coefficients are of this head, as files tell of it: name and sha256."""
        if self.expression is None or self.about in ("", head["sha256"]) or self.about == head["name"]:
            return
        found = "FLAME's names" if self.about == "flame" else "another one's"
        raise FgError(
            f"{self.path}: expected expressions of the generator's head, {head['name']}, found {found}, whose "
            "coefficients mean something else; give a sequence of this head, or one without expression"
        )


def load(path: Path) -> Sequence:
    """Reads a sequence.

    Raises:
        UsageError: another ending.
        FgError: no such file, no known name, missing columns, frames that do not match, or values that are not finite.
    """
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{path}: expected a name that ends in {', '.join(ENDINGS)}, found {path.suffix or 'none'!r}")
    columns = _csv(path) if path.suffix.lower() == ".csv" else dict(pickles.load(path))
    if "vector" in columns:
        columns |= _unpacked(path, columns)
    found = {kind: _frames(path, columns, kind, names) for kind, names in NAMES.items()}
    known = {kind: value for kind, value in found.items() if value is not None}
    if not known:
        told = ", ".join(name for names in NAMES.values() for name in names)
        have = ", ".join(map(str, columns)) or "none"
        raise FgError(f"{path}: expected columns of a head's movement ({told}), found {have}; rename them")
    n = max(map(len, known.values()))
    for kind, value in known.items():
        if len(value) not in (1, n):
            raise FgError(f"{path}: expected {n} frames of {kind}, as others have, found {len(value)}; give them all")
        known[kind] = value.expand(n, -1)
    about = str(columns.get("head", "")) or ("flame" if FOREIGN & set(columns) else "")
    return _sequence(path, known, about)


def _sequence(path: Path, known: dict[str, Tensor], about: str) -> Sequence:
    """From columns (n, any number) by kind."""
    expression, pose = known.get("expression"), known.get("pose")
    if pose is not None:
        known = {"head": pose[:, :3], "jaw": pose[:, -3:] if pose.shape[1] == 6 else pose[:, 6:9]} | known
        about = about or ("flame" if pose.shape[1] == 15 else "")
        if pose.shape[1] == 15:
            known = {"neck": pose[:, 3:6]} | known
    head, neck = known.get("head"), known.get("neck")
    if neck is not None:
        head = neck if head is None else axis_angle(rotation_matrices(head) @ rotation_matrices(neck))
    if expression is not None:
        if (expression[:, SIZES["expression"] :] != 0).any():
            say(f"{path}: of {expression.shape[1]} expression modes the first {SIZES['expression']} are followed")
        expression = F.pad(expression, (0, max(0, SIZES["expression"] - expression.shape[1])))[:, : SIZES["expression"]]
    return Sequence(path, expression, head, known.get("jaw"), about)


def _frames(path: Path, columns: Mapping[str, Any], kind: str, names: tuple[str, ...]) -> Tensor | None:
    """The numbers (n, any number) of one kind, if the file has them."""
    name = next((name for name in names if name in columns), None)
    if name is None:
        return None
    array = pickles.plain(columns[name])
    widths = WIDTHS.get(kind, array.shape[-1:])
    if array.dtype.kind not in "fiu" or array.ndim not in (1, 2) or array.shape[-1] not in widths:
        wanted = " or ".join(map(str, widths)) or "some"
        raise FgError(
            f"{path}: expected {name} as {wanted} numbers a frame, found {array.dtype} {array.shape}; give all of its "
            "columns"
        )
    array = np.atleast_2d(array).astype(np.float32)
    wrong = np.argwhere(~np.isfinite(array))
    if len(wrong):
        frame, column = wrong[0]
        raise FgError(
            f"{path}: expected finite numbers, found {array[frame, column]} in {name} {column} of frame {frame}; "
            "fill the gaps first"
        )
    return torch.from_numpy(array)


def _unpacked(path: Path, columns: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The fields of a `vector` that fg wrote."""
    order, vector = str(columns.get("order", "")), torch.from_numpy(np.asarray(columns["vector"], np.float32))
    if order not in ORDERS or vector.ndim != 2 or vector.shape[1] != sum(SIZES.values()):
        raise FgError(
            f"{path}: expected vector (n, {sum(SIZES.values())}) and order, one of {', '.join(ORDERS)}, found "
            f"{tuple(vector.shape)} and order {order!r}; say in which order it is"
        )
    p = Parameters.from_vector(vector, order)
    return {"expression": p.expression.numpy(), "pose": p.pose.numpy()}


def _csv(path: Path) -> dict[str, np.ndarray]:
    """Columns NAME_0, NAME_1 ... of a table as arrays (n, any number) by NAME; others by their own name."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FgError(f"{path}: expected a CSV of parameters, found {reason(error)}; check the file") from error
    header, rows = ([name.strip() for name in rows[0]], rows[1:]) if rows else ([], [])
    wanted = {name for names in NAMES.values() for name in names}
    places: dict[str, dict[int, int]] = {}
    for place, name in enumerate(header):
        parts = re.fullmatch(r"(.+?)_?([0-9]+)", name)
        if parts and parts[1] in wanted:
            places.setdefault(parts[1], {})[int(parts[2])] = place
    for name, numbers in places.items():
        missing = sorted(set(range(max(numbers) + 1)) - set(numbers))
        if missing:
            raise FgError(
                f"{path}: expected columns {name}_0 to {name}_{max(numbers)}, found no {name}_{missing[0]}; add it"
            )
    if not rows and places:
        raise FgError(f"{path}: expected a row for every frame, found none; check the file")
    found: dict[str, Any] = {name: np.zeros(0) for name in header if name in FOREIGN}
    for name, numbers in places.items():
        order = [numbers[i] for i in range(len(numbers))]
        found[name] = np.array(
            [[_number(path, line, row, header[i], i) for i in order] for line, row in enumerate(rows, 2)]
        )
    return found


def _number(path: Path, line: int, row: list[str], name: str, place: int) -> float:
    """The number in a cell."""
    text = row[place].strip() if place < len(row) else ""
    try:
        return float(text)
    except ValueError:
        raise FgError(f"{path}: expected a number for {name} in line {line}, found {text!r}; fill it in") from None
