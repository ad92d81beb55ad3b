"""Codes of a generator: the space they are in, how they become images, and the paths between two of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fgcli import artifacts
from fgcli.capabilities import Conditional, Generator, Mapped, Masks, Space, Writes
from fgcli.errors import FgError
from fgcli.pixels import tensor, u8

ACCEPTED: dict[Space, tuple[Space, ...]] = {"z": ("z",), "w": ("w",), "w+": ("w+", "w")}
"""Spaces whose codes a generator of each space decodes: one w serves all its layers."""
BLOCK = 64
"""Draws that are made at once."""
PART = 1000
"""Sentences that are written at once."""


@dataclass(frozen=True)
class Codes:
    """Codes, the space they are in, and the conditions they are decoded with.

    Attributes:
        values: (n, l, d); with l = 1 one row serves all layers of the generator.
        space: "z", "w" or "w+".
        condition: (n, ...) for a Conditional generator, as its training batches have it.

    >>> two = Codes(torch.zeros(2, 1, 3), "z")
    >>> len(two), two[:1].values.shape
    (2, torch.Size([1, 1, 3]))
    """

    values: Tensor
    space: Space
    condition: Tensor | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Codes:
        """Some of them: a slice or a list of places."""
        return Codes(self.values[rows], self.space, None if self.condition is None else self.condition[rows])

    def to(self, device: torch.device | str) -> Codes:
        """The same on a device."""
        condition = None if self.condition is None else self.condition.to(device)
        return Codes(self.values.to(device), self.space, condition)

    def moved(self, values: np.ndarray | Tensor) -> Codes:
        """Other values under the same conditions."""
        return replace(self, values=torch.as_tensor(values).to(self.values))

    def numpy(self) -> np.ndarray:
        """The values (n, l, d)."""
        return self.values.cpu().numpy()

    def split(self, size: int) -> list[Codes]:
        """In parts of at most `size`."""
        return [self[i : i + size] for i in range(0, len(self), size)]


def coded(generator: Generator, values: Tensor, condition: Tensor | None = None) -> Codes:
    """Codes of a generator: of one with a row for each layer (w+), those of one row (n, 1, d) are in w."""
    one = generator.space == "w+" and values.shape[1] == 1
    return Codes(values, "w" if one else generator.space, condition)


def decode(generator: Generator, codes: Codes) -> Tensor:
    """Images (n, c, h, w) in [-1, 1]: all that fg shows or measures of codes is decoded here.

    Raises:
        FgError: codes of a foreign space or size, or without the conditions that the generator wants.
    """
    values = accepted(generator, codes)
    if not isinstance(generator, Conditional):
        return generator.decode(values)
    wanted = f"codes: expected conditions of {generator.condition_shape} for {type(generator).__name__}, found"
    if codes.condition is None:
        raise FgError(f"{wanted} none; take codes of latents.h5, which has them")
    if codes.condition.shape[1:] != generator.condition_shape:
        raise FgError(f"{wanted} {tuple(codes.condition.shape[1:])}; make them at the generator's size")
    return generator.decode(values, codes.condition)


@torch.no_grad()
def written(generator: Writes, codes: Codes) -> list[str | None]:
    """The likeliest sentence of each code; None where its derivation does not finish.

    Raises:
        FgError: as `decode`.
    """
    return [text for part in codes.split(PART) for text in generator.write(decode(generator, part))]


def decode_mask(generator: Masks, codes: Codes) -> Tensor:
    """Face masks (n, 1, h, w) in [0, 1].

    Raises:
        FgError: codes of a foreign space or size.
    """
    return generator.decode_mask(accepted(generator, codes))


def accepted(generator: Generator, codes: Codes) -> Tensor:
    """The values (n, l, d) as `generator.decode` takes them, one row broadcast over the layers.

    Raises:
        FgError: codes of a foreign space or size.
    """
    layers, size = generator.code_shape
    kind = type(generator).__name__
    if codes.space not in ACCEPTED[generator.space]:
        fix = "map them by its `map`" if codes.space == "z" and isinstance(generator, Mapped) else "invert again"
        raise FgError(f"codes: expected space {generator.space} for {kind}, found {codes.space}; {fix}")
    n, rows, d = codes.values.shape
    if d != size or rows not in (1, layers):
        raise FgError(f"codes: expected {layers} x {size} for {kind}, found {rows} x {d}; invert again")
    return codes.values.expand(n, layers, size)


def numbered(n: int, seed: int, block: Callable[[int], Tensor]) -> Tensor:
    """Draws (n, ...) of the numbers seed, seed + 1, ...: each is the same, to the bit, whatever is drawn beside it.

    So draw i of a seed is the first of seed + i. Draws are made in whole blocks, whichever of them are wanted: sums of
    another number of rows would round otherwise.

    Args:
        n: how many.
        seed: the number of the first.
        block: k -> draws (BLOCK, ...) of the numbers k BLOCK, k BLOCK + 1, ...

    >>> numbered(3, 63, lambda k: k * BLOCK + torch.arange(BLOCK)).tolist()
    [63, 64, 65]
    """
    blocks = range(seed // BLOCK, (seed + n - 1) // BLOCK + 1)
    return torch.cat([block(k) for k in blocks])[seed % BLOCK :][:n]


def apart(seed: int) -> int:
    """A seed whose draws no other seed shares; plain seeds 0 and 1 share all draws but one."""
    return int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]) // 2


def prior(generator: Generator, n: int, seed: int, truncation: float = 1.0) -> Codes:
    """The n draws from `seed` on of the generator's own prior; below 1 `truncation` draws them to the prior's mean."""

    @torch.no_grad()
    def block(k: int) -> Tensor:
        return generator.prior(BLOCK, torch.Generator().manual_seed(k), truncation)

    return coded(generator, numbered(n, seed, block))


def conditioned(codes: Codes, conditions: np.ndarray | None, seed: int) -> Codes:
    """The codes, each with one of the conditions, if there are conditions.

    Args:
        codes: draws of the numbers seed, seed + 1, ...
        conditions: those of latents.h5, as `told` takes them.
        seed: number of the first code.
    """
    if conditions is None:
        return codes

    def block(k: int) -> Tensor:
        rng = np.random.default_rng((k, 1))  # not the one that draws the code
        return torch.from_numpy(rng.integers(len(conditions), size=BLOCK))

    chosen = numbered(len(codes), seed, block).numpy()
    return replace(codes, condition=told(conditions[chosen]).to(codes.values.device))


def told(stored: np.ndarray) -> Tensor:
    """Conditions as batches have them, of pictures (n, h, w, c) uint8 or of numbers (n, p) as files keep them."""
    return tensor(stored) if stored.dtype == np.uint8 else torch.from_numpy(np.array(stored))


def kept(condition: Tensor | None) -> dict[str, np.ndarray]:
    """The fields of latents.h5 that keep conditions, the inverse of `told`; none of none."""
    if condition is None:
        return {}
    picture = condition.ndim == 4
    return {field_of(picture): u8(condition).numpy() if picture else condition.numpy()}


def field_of(picture: bool) -> str:
    """The field of latents.h5 that keeps conditions."""
    return "condition" if picture else "condition_vector"


def reader(latents: Path) -> Callable[[Any], Codes]:
    """A function from rows (a slice, or places) to their codes in latents.h5, with conditions if they have some.

    Args:
        latents: or a file of drawn faces.

    Raises:
        FgError: another file; and of the function: codes that are not finite.
    """
    read, known = plain(latents), conditions(latents)

    def conditioned(rows: Any) -> Codes:
        return replace(read(rows), condition=None if known is None else told(known[rows]))

    return conditioned


def plain(latents: Path) -> Callable[[Any], Codes]:
    """The same without conditions, which are pictures: for whoever does not decode."""
    stored = artifacts.load(latents, names=())
    if stored.schema != artifacts.SAMPLES.tag:
        stored = artifacts.load(latents, artifacts.LATENTS, ())
    space, values = stored.meta["space"], artifacts.rows(latents, "codes")

    def read(rows: Any) -> Codes:
        found = np.array(values[rows])
        artifacts.verify_finite(f"{latents} codes", found, "invert again")
        return Codes(torch.from_numpy(found), space)

    return read


def conditions(latents: Path) -> np.ndarray | None:
    """The conditions of latents.h5, as `told` takes them, mapped; none if its generator wants none."""
    fields = [field for field in map(field_of, (True, False)) if field in artifacts.layout(latents)]
    return artifacts.rows(latents, fields[0]) if fields else None


def linear(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """(1 - t) a + t b.

    >>> float(linear(np.array([0.0]), np.array([4.0]), 0.25)[0])
    1.0
    """
    return (1 - t) * a + t * b


def slerp(a: np.ndarray, b: np.ndarray, t: float) -> np.ndarray:
    """Great circle (Shoemake 1985): sin((1 - t) w) / sin w a + sin(t w) / sin w b, w the angle between the codes.

    Codes in one line have no great circle of their own: there it is linear.

    >>> slerp(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 0.5).round(3).tolist()
    [0.707, 0.707]
    """
    x, y = a.ravel(), b.ravel()
    cosine = np.clip(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-12), -1, 1)
    angle = np.arccos(cosine)
    if np.sin(angle) < 1e-6:
        return linear(a, b, t)
    return ((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)).astype(a.dtype)


PATHS = {"linear": linear, "slerp": slerp}
NATURAL: dict[Space, str] = {"z": "slerp", "w": "linear", "w+": "linear"}
"""The path of each space: on the shell where N(0, I) has its mass; straight where a mapping has undone that shell."""


def walk(a: Codes, b: Codes, times: Sequence[float], path: str = "") -> Codes:
    """Codes on the way from each of `a` to its partner in `b`: for every pair all times, (pairs * times, l, d).

    Args:
        a: where it starts. b: where it ends, in the same space.
        times: in [0, 1].
        path: an entry of PATHS; by default that of the space.

    Before the middle of the way conditions are those of the start, from there on those of the end.

    Raises:
        FgError: codes of two spaces.
    """
    if a.space != b.space:
        raise FgError(f"codes: expected two codes of one space, found {a.space} and {b.space}; invert both alike")
    blend = PATHS[path or NATURAL[a.space]]
    pairs = list(zip(a.numpy(), b.numpy(), strict=True))
    values = torch.from_numpy(np.stack([blend(x, y, t) for x, y in pairs for t in times])).to(a.values)
    if a.condition is None or b.condition is None:
        return Codes(values, a.space)
    ends = (a.condition, b.condition)
    condition = torch.stack([ends[t >= 0.5][i] for i in range(len(pairs)) for t in times])
    return Codes(values, a.space, condition)
