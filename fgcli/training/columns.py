"""Columns of a batch: which field of which artifact, how it becomes a tensor, what augmentations leave it true."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fgcli import artifacts
from fgcli.errors import FgError
from fgcli.pixels import pixels

Convert = Callable[[Tensor, torch.memory_format], Tensor]
Derive = Callable[[np.ndarray, np.ndarray], np.ndarray]


def masks(values: Tensor, _: torch.memory_format) -> Tensor:
    """uint8 (n, h, w) in {0, 255} as float (n, 1, h, w) in {0, 1}.

    >>> masks(torch.tensor([[[0, 255]]], dtype=torch.uint8), torch.contiguous_format).tolist()
    [[[[0.0, 1.0]]]]
    """
    return (values[:, None] >> 7).float()


def whole(values: Tensor, _: torch.memory_format) -> Tensor:
    """Integers of any type as int64."""
    return values.long()


def real(values: Tensor, _: torch.memory_format) -> Tensor:
    """Numbers as float32."""
    return values.float()


def sentences(choices: int) -> Column:
    """Rules as the pictures of a generator that writes: planes (n, choices, 1, t) in {-1, 1}; the last: no rule."""

    def planes(rules: Tensor, _: torch.memory_format) -> Tensor:
        chosen = torch.nn.functional.one_hot(rules.long() % choices, choices)  # -1 is the last
        return 2 * chosen.float().movedim(-1, 1)[:, :, None] - 1

    return Column("images", "sentences", "rules", planes)


def mirrored_normals(condition: Tensor) -> Tensor:
    """A mirrored condition (n, 6, h, w): in a mirror the normals' x, channel 3 in [-1, 1], points to the other side.

    Beside the head, where it is black, it stays so.
    """
    head = (condition[:, 3:] > -0.99).any(1)  # unit normals are not there
    condition = condition.clone()
    condition[:, 3] = torch.where(head, -condition[:, 3], condition[:, 3])
    return condition


@dataclass(frozen=True)
class Column:
    """One column of a batch.

    Attributes:
        name: in the batch. artifact: the file that has it, by its name among a stage's inputs. field: its dataset.
        convert: from the stored values, on the device, to the batch's tensor.
        plane: whether it moves as the pictures move: (n, c, h, w).
        binary: whether a moved plane is put back to {0, 1}.
        mirror: what a mirror does beside turning a plane round.
        untrue: augmentations, by their names in params, after which the values would no longer be those of the picture.
        derive: makes the whole column anew once, from the stored one (N, ...) and the training rows.
    """

    name: str
    artifact: str
    field: str
    convert: Convert
    plane: bool = False
    binary: bool = False
    mirror: Callable[[Tensor], Tensor] | None = None
    untrue: frozenset[str] = frozenset()
    derive: Derive | None = None


MOVES = frozenset({"flip", "shift", "zoom", "rotate"})
MIX = frozenset({"mix"})
"""A blend of two faces is of neither person."""
HEAD = ("shape", "expression", "pose", "camera", "texture", "light")

COLUMNS = {
    column.name: column
    for column in (
        Column("images", "faces", "images", pixels, plane=True),
        Column("masks", "faces", "masks", masks, plane=True, binary=True),
        Column("attributes", "faces", "attributes", whole, untrue=MIX),
        Column("identity", "faces", "identity", whole, untrue=MIX),
        # Colours may stray: a head's light and skin are to be seen whatever the camera makes of them.
        *(Column(name, "flame", name, real, untrue=MOVES | MIX) for name in HEAD),
        Column(
            "condition",
            "conditions",
            "renders",
            pixels,
            plane=True,
            mirror=mirrored_normals,
            untrue=frozenset({"rotate"}) | MIX,  # normals would have to turn, too
        ),
        Column("parameters", "conditions", "parameters", real, untrue=MOVES | MIX),
        Column("rules", "sentences", "rules", whole),
    )
}
"""Any field of any artifact that an objective may ask for by name."""


@dataclass(frozen=True)
class Table:
    """A column and its stored values (N, ...), mapped."""

    column: Column
    values: np.ndarray


def tables(
    needs: Iterable[str | Column], files: Mapping[str, Path | None], rows: np.ndarray, by: str
) -> dict[str, Table]:
    """The columns that an objective needs, opened, by name.

    Args:
        needs: names in COLUMNS, or columns.
        files: a stage's inputs by name; None where there is no such file.
        rows: of the training split, for derived columns.
        by: who needs them, for messages.

    Raises:
        FgError: no file with that column, or files of different faces or sizes.
    """
    found: dict[str, Table] = {}
    for need in needs:
        column = COLUMNS[need] if isinstance(need, str) else need
        values = stored(column, files, by)
        found[column.name] = Table(column, column.derive(np.asarray(values), rows) if column.derive else values)
    for kind, end in ((tuple(found.values()), 1), (tuple(t for t in found.values() if t.column.plane), 3)):
        for table in kind[1:]:
            first, shape = kind[0], table.values.shape[:end]
            if shape != first.values.shape[:end]:
                raise FgError(
                    f"{files[table.column.artifact]}: expected {table.column.field} of {first.values.shape[:end]}, as "
                    f"{first.column.field} has, found {shape}; make both from the same faces"
                )
    return found


def stored(column: Column, files: Mapping[str, Path | None], by: str) -> np.ndarray:
    """A column's values (N, ...), mapped.

    Raises:
        FgError: no such file or field, or a file of other faces.
    """
    path, faces = files.get(column.artifact), files.get("faces")
    if path is None:
        raise FgError(
            f"{by}: expected the column {column.name} in {column.artifact}.h5, found no such file; make it first"
        )
    if column.field not in artifacts.layout(path):
        raise FgError(
            f"{path}: expected {column.field}, which {by} needs, found none; choose another objective or file"
        )
    if faces is not None and path != faces:
        same_faces(path, faces)
    return artifacts.rows(path, column.field)


def same_faces(path: Path, faces: Path) -> None:
    """Raises FgError unless a file that was made from faces was made from these."""
    made_from = artifacts.load(path, names=()).inputs.get("faces")
    if made_from not in (None, artifacts.sha256(faces)):
        raise FgError(f"{path}: expected a file made from {faces}, found one of other faces; make it again")
