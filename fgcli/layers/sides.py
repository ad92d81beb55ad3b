"""Sides of the feature maps of networks that double or halve pictures."""

from __future__ import annotations

START = 4
"""Side of the smallest feature map, px."""


def sides(image_shape: tuple[int, int, int], name: str) -> list[int]:
    """From START to the image's side, each twice the one before.

    Args:
        image_shape: (c, size, size). name: of the network, for the message.

    Raises:
        ValueError: not a square of a power of two.

    >>> sides((3, 32, 32), "dcgan")
    [4, 8, 16, 32]
    """
    _, size, across = image_shape
    if size != across or size < 2 * START or size & (size - 1):
        raise ValueError(f"{name} expects a square of a power of two from {2 * START} px, found {size}x{across}")
    return [START << i for i in range((size // START).bit_length())]
