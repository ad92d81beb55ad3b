"""The numbers that describe a head in a photo, by name; and the two orders in which published files list them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from fgcli.artifacts.outputs import write_npz
from fgcli.errors import FgError

SIZES = {"shape": 100, "expression": 50, "pose": 6, "camera": 3, "texture": 50, "light": 27}
"""How many numbers each parameter has."""

ORDERS = {
    "deca": ("shape", "texture", "expression", "pose", "camera", "light"),
    "gif": ("shape", "expression", "pose", "camera", "texture", "light"),
}
"""Vectors of 236: what DECA's encoder gives (Feng et al. 2021), and what GIF is conditioned on (Ghosh et al. 2020)."""


@dataclass(frozen=True)
class Parameters:
    """One row per face. Conventions of camera and light: `camera`, `light`.

    shape (n, 100), expression (n, 50), texture (n, 50): standard deviations. pose (n, 6): axis-angle of the head and of
    the jaw, radians. camera (n, 3): s, tx, ty. light (n, 9, 3): spherical harmonics of each colour channel.
    """

    shape: Tensor
    expression: Tensor
    pose: Tensor
    camera: Tensor
    texture: Tensor
    light: Tensor

    @classmethod
    def zeros(cls, n: int, device: torch.device | str | None = None) -> Self:
        """The mean head, n times, at camera 0 and in the dark."""
        values = {key: torch.zeros(n, size, device=device) for key, size in SIZES.items()}
        return cls(**values | {"light": values["light"].unflatten(1, (9, 3))})

    @classmethod
    def from_vector(cls, vector: Tensor, order: str) -> Self:
        """From (n, 236) in one of ORDERS."""
        names = ORDERS[order]
        values = dict(zip(names, vector.split([SIZES[name] for name in names], 1), strict=True))
        return cls(**values | {"light": values["light"].unflatten(1, (9, 3))})

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """From arrays of the fields' names; others are not looked at."""
        return cls(**{name: torch.from_numpy(np.array(arrays[name], np.float32)) for name in SIZES})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Heads one after the other."""
        return cls(**{name: torch.cat([getattr(p, name) for p in parts]) for name in SIZES})

    def to_vector(self, order: str) -> Tensor:
        """As (n, 236) in one of ORDERS."""
        return torch.cat([getattr(self, name).flatten(1) for name in ORDERS[order]], 1)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Float32 arrays by the fields' names."""
        return {name: getattr(self, name).detach().cpu().float().numpy() for name in SIZES}

    def rows(self, chosen: Tensor | slice | Sequence[int] | np.ndarray) -> Self:
        """Some of the rows."""
        return type(self)(**{name: getattr(self, name)[chosen] for name in SIZES})

    def replace(self, **fields: Tensor) -> Self:
        """The same with other values of some fields."""
        return dataclasses.replace(self, **fields)

    def to(self, device: torch.device | str) -> Self:
        """The same on a device."""
        return self.replace(**{name: getattr(self, name).to(device) for name in SIZES})

    def __len__(self) -> int:
        return len(self.pose)


def save_npz(path: Path, parameters: Parameters, order: str | None = None, head: str = "") -> None:
    """Writes an .npz with one array per field or, given one of ORDERS, with `vector` (n, 236) and `order`.

    head: the sha256 of the head that they are of, where it is known.
    """
    arrays: dict[str, Any] = parameters.to_arrays()
    if order:
        arrays = {"vector": parameters.to_vector(order).detach().cpu().float().numpy(), "order": np.array(order)}
    arrays |= {"head": np.array(head)} if head else {}
    write_npz(path, arrays)


def load_npz(path: Path) -> Parameters:
    """Reads what `save_npz` wrote, in either form.

    Raises:
        FgError: no such file, not an .npz, or arrays of other names or shapes.
    """
    arrays = _read(path)
    if "vector" in arrays:
        order, vector = str(arrays.get("order", "")), arrays["vector"]
        if order not in ORDERS or vector.ndim != 2 or vector.shape[1] != sum(SIZES.values()):
            raise FgError(
                f"{path}: expected vector (n, 236) and order, one of {', '.join(ORDERS)}, found {vector.shape} and "
                f"order {order!r}; say in which order it is"
            )
        return Parameters.from_vector(torch.from_numpy(vector.astype(np.float32)), order)
    n = len(arrays["pose"]) if arrays.get("pose", np.zeros(())).ndim else 0
    for name, size in SIZES.items():
        want = (n, 9, 3) if name == "light" else (n, size)
        found: Any = arrays[name].shape if name in arrays else "no such array"
        if found != want:
            raise FgError(f"{path}: expected {name} {want}, found {found}; give a file that fg flame export wrote")
    return Parameters.from_arrays(arrays)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise FgError(f"{path}: expected an .npz of parameters, found no such file; check the path") from error
    except Exception as error:  # numpy raises as the file is damaged
        raise FgError(f"{path}: expected an .npz of parameters, found another kind of file; check the path") from error
