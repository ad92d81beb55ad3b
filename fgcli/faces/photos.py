"""Reading a photo: header first, then pixels; whatever is wrong with the file becomes one sentence."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from fgcli import archives

DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)
"""What Pillow raises on damaged files, depending on the format."""
BAD_EXIF = ("EXIF", "Truncated File Read")
"""What it warns of where EXIF data is damaged, depending on the version."""

PLAIN_MODES = ("1", "L", "P", "RGB")
HEIC = (".heic", ".heif")

FIXED = {"16-bit": "16-bit converted to 8-bit", "transparent": "transparent laid on white"}
"""What becomes of photos with a flaw; those of other modes, as CMYK, are "converted to RGB"."""


class BadPhotoError(Exception):
    """A file that is no usable photo; the message is one sentence."""


@dataclass(frozen=True)
class Decoded:
    """A photo, turned upright as its EXIF tag says.

    pixels: uint8 (h, w, 3), sRGB. own: the same in the colours of its profile. profile: that ICC profile of RGB, or
    None: the photo is sRGB. notes: what was converted or ignored on reading, a clause each.
    """

    pixels: np.ndarray
    own: np.ndarray
    profile: bytes | None
    notes: tuple[str, ...]

    def edited(self, pixels: np.ndarray) -> np.ndarray:
        """Other `pixels`, sRGB, in the photo's own colours: exactly its own wherever nothing changed."""
        if self.profile is None:
            return pixels
        now, before = (_converted(Image.fromarray(p), SRGB, _profile(self.profile)) for p in (pixels, self.pixels))
        return np.clip(self.own + (np.int16(now) - np.int16(before)), 0, 255).astype(np.uint8)


def decode(path: Path, *, fix: bool = False, min_px: int = 1, max_megapixels: float = 100.0) -> Decoded:
    """The photo, its colours converted to sRGB; a profile that cannot be read is ignored, and noted.

    Args:
        path: any file.
        fix: convert CMYK, transparent and 16-bit photos instead of refusing them.
        min_px: least length of the shorter side, px.
        max_megapixels: largest width times height, 10^6 px, judged by the header alone.

    Raises:
        BadPhotoError: saying why.
    """
    with warnings.catch_warnings(record=True, action="always") as told, _opened(path) as image:
        _verify_size(image, min_px, max_megapixels)
        flaw = _flaw(image)
        if flaw and not fix:
            raise BadPhotoError(f"{flaw} photo, expected 8-bit RGB or grey; set preprocess.on_bad=fix to convert it")
        try:
            upright = _eight_bit(ImageOps.exif_transpose(image), flaw)
            notes: tuple[str, ...] = (FIXED.get(flaw, f"{flaw} converted to RGB"),) if flaw else ()
            if any(words in str(warning.message) for warning in told for words in BAD_EXIF):
                notes += ("EXIF data that cannot be read ignored",)
            return _in_srgb(upright, image.info.get("icc_profile"), notes)
        except DAMAGE as error:
            kind = "truncated" if "truncated" in str(error).lower() else "damaged"
            raise BadPhotoError(f"{kind} {image.format} file") from error


def decode_mask(path: Path) -> np.ndarray:
    """A mask file as bool (h, w), turned upright: true where it is brighter than half of its white, 1, 255 or 65535.

    Raises:
        BadPhotoError: saying why.
    """
    with _opened(path) as image:
        try:
            upright = ImageOps.exif_transpose(image)
            values = np.asarray(upright if upright.mode.startswith("I") else upright.convert("L"))
            white = next((white for white in (1, 255) if values.max() <= white), 65535)
            return values > white / 2
        except DAMAGE as error:
            raise BadPhotoError(f"damaged mask file {path.name}") from error


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # our own limit is checked on the header, with a clearer sentence
    try:
        if path.is_symlink() and not path.exists():
            raise BadPhotoError(f"a link to {path.readlink()}, which is not there")
        if path.suffix.lower() in HEIC:
            _learn_heic()
        image = Image.open(path if path.exists() else archives.opened(path))
    except UnidentifiedImageError as error:
        raise BadPhotoError("not an image, whatever its name says") from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BadPhotoError("no such file") from error
    except PermissionError as error:
        raise BadPhotoError("no permission to read the file") from error
    except DAMAGE as error:
        raise BadPhotoError("damaged image header") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def _learn_heic() -> None:
    """Teaches Pillow the format of phones, which is no part of it."""
    if find_spec("pillow_heif") is None:
        raise BadPhotoError('HEIC photo, which needs the package pillow-heif; pip install "fgcli[heic]"')
    from pillow_heif import register_heif_opener

    register_heif_opener()


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


def _eight_bit(image: Image.Image, flaw: str) -> Image.Image:
    """The photo in 8 bits and without transparency, still in its own colours."""
    if flaw == "transparent":
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if flaw == "16-bit" and image.mode not in PLAIN_MODES:
        values = np.asarray(image, np.float64)
        if not np.isfinite(values).all():
            raise ValueError("values that are no numbers")
        return Image.fromarray(np.clip(values / 257.0, 0, 255).round().astype(np.uint8))
    return image


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _in_srgb(image: Image.Image, icc: bytes | None, notes: tuple[str, ...]) -> Decoded:
    """An 8-bit photo with the profile `icc`, which is kept if it is of RGB, as the pixels are from here on."""
    own = np.asarray(image.convert("RGB"))
    if not icc:
        return Decoded(own, own, None, notes)
    try:
        profile = _profile(icc)
        rgb = profile.profile.xcolor_space.strip() == "RGB"
        pixels = _converted(Image.fromarray(own) if rgb else image, profile, SRGB)
    except (ImageCms.PyCMSError, *DAMAGE):
        return Decoded(own, own, None, (*notes, "colour profile that cannot be read ignored"))
    return Decoded(pixels, own if rgb else pixels, icc if rgb else None, notes)


def _profile(icc: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(BytesIO(icc))


def _converted(image: Image.Image, one: ImageCms.ImageCmsProfile, other: ImageCms.ImageCmsProfile) -> np.ndarray:
    """Pixels (h, w, 3) of an image in the colours of profile `one`, in those of the RGB profile `other`."""
    return np.asarray(ImageCms.profileToProfile(image, one, other, outputMode="RGB"))
