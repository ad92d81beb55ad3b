"""Reading a photo: header first, then pixels; whatever is wrong with the file becomes one sentence."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises on damaged files, depending on the format."""

PLAIN_MODES = ("1", "L", "P", "RGB")


class BadPhotoError(Exception):
    """A file that is no usable photo; the message is one sentence."""


def decode(path: Path, *, fix: bool = False, min_px: int = 1, max_megapixels: float = 100.0) -> np.ndarray:
    """The photo as uint8 (h, w, 3), turned upright as its EXIF tag says.

    Args:
        path: any file.
        fix: convert CMYK, transparent and 16-bit photos instead of refusing them.
        min_px: least length of the shorter side, px.
        max_megapixels: largest width times height, 10^6 px, judged by the header alone.

    Raises:
        BadPhotoError: saying why.
    """
    with _opened(path) as image:
        _verify_size(image, min_px, max_megapixels)
        flaw = _flaw(image)
        if flaw and not fix:
            raise BadPhotoError(f"{flaw} photo, expected 8-bit RGB or grey; set preprocess.on_bad=fix to convert it")
        try:
            upright = ImageOps.exif_transpose(image)
            return np.asarray(_rgb(upright, flaw))
        except DAMAGE as error:
            kind = "truncated" if "truncated" in str(error).lower() else "damaged"
            raise BadPhotoError(f"{kind} {image.format} file") from error


def decode_mask(path: Path) -> np.ndarray:
    """A mask file as bool (h, w): true where it is brighter than half.

    Raises:
        BadPhotoError: saying why.
    """
    with _opened(path) as image:
        try:
            return np.asarray(image.convert("L")) > 127
        except DAMAGE as error:
            raise BadPhotoError(f"damaged mask file {path.name}") from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked on the header, with a clearer sentence
    try:
        image = Image.open(path)
    except UnidentifiedImageError as error:
        raise BadPhotoError("not an image, whatever its name says") from error
    except FileNotFoundError as error:
        raise BadPhotoError("no such file") from error
    except PermissionError as error:
        raise BadPhotoError("no permission to read the file") from error
    except DAMAGE as error:
        raise BadPhotoError("damaged image header") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def _verify_size(image: Image.Image, min_px: int, max_megapixels: float) -> None:
    width, height = image.size
    if min(width, height) < min_px:
        raise BadPhotoError(f"{width}x{height} px, smaller than preprocess.min_px={min_px}")
    if width * height > max_megapixels * 1e6:
        raise BadPhotoError(f"{width}x{height} px, larger than preprocess.max_megapixels={max_megapixels:g}")


def _flaw(image: Image.Image) -> str:
    tiles = getattr(image, "tile", [])
    raw = str(tiles[0].args) if tiles else ""
    if image.mode in ("I", "F") or image.mode.startswith("I;") or "16" in raw:
        return "16-bit"
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return "transparent"
    return "" if image.mode in PLAIN_MODES else image.mode


def _rgb(image: Image.Image, flaw: str) -> Image.Image:
    if flaw == "transparent":
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if flaw == "16-bit" and image.mode not in PLAIN_MODES:
        values = np.asarray(image, np.float64)
        image = Image.fromarray(np.clip(values / 257.0, 0, 255).round().astype(np.uint8))
    return image.convert("RGB")
