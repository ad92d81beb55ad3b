"""Encoder and decoder of BEGAN's discriminator (Berthelot et al. 2017, Figure 1; widths as in the widely used
TensorFlow version): 3x3 convolutions and ELU, no normalisation, no dropout, no transposed convolution."""

from __future__ import annotations

from torch import nn

from fgcli.layers.blocks import ELU

START = 8
"""Side of the smallest feature map."""


def began_encoder(image_shape: tuple[int, int, int], outputs: int, filters: int) -> nn.Sequential:
    """Images (n, c, s, s) to (n, outputs): filters grow by `filters` a block, strided convolutions between blocks.

    Raises:
        ValueError: a side that is not a power of two from 16 px.
    """
    blocks, last = blocks_of(image_shape), filters
    layers = [*conv(image_shape[0], filters)]
    for i in range(1, blocks + 1):
        layers += [*conv(last, filters * i), *conv(filters * i, filters * i)]
        layers += conv(filters * i, filters * i, stride=2) if i < blocks else []
        last = filters * i
    return started(nn.Sequential(*layers, nn.Flatten(), nn.Linear(last * START**2, outputs)))


def began_decoder(image_shape: tuple[int, int, int], codes: int, filters: int) -> nn.Sequential:
    """Codes (n, codes) to images (n, c, s, s), not bounded: nearest-neighbour enlargement between blocks.

    Raises:
        ValueError: a side that is not a power of two from 16 px.
    """
    layers: list[nn.Module] = [nn.Linear(codes, filters * START**2), nn.Unflatten(1, (filters, START, START))]
    for i in range(blocks_of(image_shape)):
        layers += [nn.Upsample(scale_factor=2)] if i else []
        layers += [*conv(filters, filters), *conv(filters, filters)]
    return started(nn.Sequential(*layers, nn.Conv2d(filters, image_shape[0], 3, padding=1)))


def blocks_of(image_shape: tuple[int, int, int]) -> int:
    """log2(side) - 2: as many blocks as lie between the image and START inclusive."""
    _, size, across = image_shape
    if size != across or size < 2 * START or size & (size - 1):
        raise ValueError(f"BEGAN's network expects a square of a power of two from 16 px, found {size}x{across}")
    return size.bit_length() - 3


def conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """3x3 convolution and ELU: (n, inputs, s, s) -> (n, outputs, s / stride, s / stride)."""
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=1), ELU()]


def started(network: nn.Sequential) -> nn.Sequential:
    """Weights by Xavier's rule, biases 0: PyTorch's own start shrinks the signal at each of so many plain layers."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
    return network
