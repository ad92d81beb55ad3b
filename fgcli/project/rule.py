"""How long and how a generator is trained on so many photos of such a size: the rule of `fg init`."""

from __future__ import annotations

from typing import Any

LEAST = 12
"""Photos below which no split has two of each."""
PASSES, SHORTEST, LONGEST = 50, 500, 50_000
"""Times that each photo is seen, and between which numbers of steps that stays."""
BATCH, WIDE = 32, 128
"""Photos of a step, up to this size in px: above it as many fewer as there are more pixels, 4 at least."""
FULL, NONE = 1_000, 10_000
"""Photos up to which all of the augmentation is needed, and from which on only mirror images are."""
FEW = 300
"""Photos below which a face that is not among them is not met, so that others train beside them; and heads are fitted
by landmarks alone, with no regressor to train."""
BESIDE = {"openpeople": 128, "orl": 64}
"""Data sets of the extra `demo`, 610 photos, and up to which size in px they are large enough."""
RULE = (
    f"{PASSES} passes over the photos, {SHORTEST} to {LONGEST} steps; {BATCH} photos a step up to {WIDE} px, fewer "
    f"above, never more than half of them; all augmentation up to {FULL} photos, half up to {NONE}, then mirror "
    f"images; below {FEW} photos other faces train beside them, and heads are fitted without a regressor"
)


def beside(photos: int, size: int) -> list[str]:
    """Data sets that train beside so many photos of such a size in px.

    >>> beside(60, 64), beside(60, 128), beside(300, 64)
    (['openpeople', 'orl'], ['openpeople'], [])
    """
    return [name for name, largest in BESIDE.items() if photos < FEW and size <= largest]


def training(photos: int, size: int) -> dict[str, Any]:
    """What of the section `train` follows from the number of photos and their size in px.

    >>> small = training(610, 64)
    >>> small["steps"], small["batch"], small["augment"]["mix"], small["validate_steps"]
    (1000, 32, 0.5, 100)
    >>> large = training(50_000, 256)
    >>> large["steps"], large["batch"], large["augment"]["mix"], large["augment"]["flip"]
    (50000, 8, 0.0, 0.5)
    """
    batch = max(2, min(batch_of(size), 2 ** ((photos // 2).bit_length() - 1)))
    steps = min(LONGEST, max(SHORTEST, 100 * round(PASSES * photos / batch / 100)))
    return {
        "steps": steps,
        "batch": batch,
        "warmup": steps // 20,
        "ema_half_life": steps // 20,
        "augment": augmentation(photos),
        "validate_steps": steps // 10,
        "checkpoint_steps": steps // 5,
    }


def batch_of(size: int) -> int:
    """Photos of a step, by their side in px.

    >>> [batch_of(size) for size in (64, 128, 129, 256, 512, 1024)]
    [32, 32, 16, 8, 4, 4]
    """
    batch = BATCH
    while batch > 4 and batch * size**2 > BATCH * WIDE**2:
        batch //= 2
    return batch


def augmentation(photos: int) -> dict[str, float]:
    """How far training pictures stray: `train.augment`."""
    share = 1.0 if photos <= FULL else 0.5 if photos < NONE else 0.0
    most = {"shift": 0.04, "zoom": 0.08, "rotate": 0.08, "light": 0.15, "tint": 0.15, "mix": 0.5}
    return {"flip": 0.5} | {name: value * share for name, value in most.items()}


def components(photos: int) -> int:
    """Gaussians of the mixture, each with eight photos or more.

    >>> components(12), components(60), components(610)
    (1, 7, 10)
    """
    return max(1, min(10, photos // 8))
