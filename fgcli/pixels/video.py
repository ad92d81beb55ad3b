"""Videos: frames in, frames out; by PyAV, which is the extra `video`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from fgcli.artifacts import write_aside
from fgcli.artifacts.outputs import WRITTEN
from fgcli.errors import FgError, UsageError

FORMAT = ".mp4"
"""Ending of videos that are written."""
FORMATS = (FORMAT, ".gif")
"""Endings of animations that are written."""
X264 = {"crf": "16", "threads": "1", "x264-params": "mbtree=0"}
"""A loss that is hardly seen, and equal bytes: of small pictures the tree of blocks reads what was never written."""


def verify_package(path: Path) -> None:
    """Raises UsageError where a video cannot be read or written."""
    if find_spec("av") is None:
        raise UsageError(
            f'{path}: expected the package av for videos, found none; pip install "fgcli[video]", or name a folder of '
            "pictures"
        )


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """The first stream of pictures of a video file.

    Raises:
        FgError: no such file, none of pictures, or a damaged one.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FgError(f"{path}: expected a video, found a file without pictures; check the path")
            yield container.streams.video[0]
    except av.FFmpegError as error:
        what = (error.strerror or "damage").lower()
        raise FgError(f"{path}: expected a video, found {what}; check the file") from error


def about(path: Path) -> tuple[int, Fraction]:
    """How many frames it says it has, 0 if it does not, and how many a second."""
    with opened(path) as stream:
        return stream.frames, Fraction(stream.average_rate or stream.guessed_rate or 25)


def frames(path: Path) -> Iterator[np.ndarray]:
    """Its frames, uint8 (h, w, 3), upright, one by one."""
    with opened(path) as stream:
        for frame in stream.container.decode(stream):
            quarters = round(frame.rotation / 90)  # counter-clockwise, as a phone that was held so tells
            yield np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarters))


def save_video(path: Path, pictures: Iterable[np.ndarray], rate: Fraction) -> None:
    """Writes frames, uint8 (h, w, 3) of one size, whole or not at all.

    As H.264, where odd sides get a line more; or, where the name ends in .gif, as that, of 256 fixed colours.
    """
    with write_aside(path) as part:
        if path.suffix.lower() == ".gif":
            _encode(part, "gif", "gif", "rgb8", {}, pictures, rate)
            content = part.read_bytes()
            mark = b"\x21\xfe" + bytes([len(WRITTEN)]) + WRITTEN.encode() + b"\x00"  # a comment, before the trailer
            part.write_bytes(content[:-1] + mark + content[-1:])
        else:
            _encode(part, "mp4", "libx264", "yuv420p", X264, pictures, rate)


def _encode(
    part: Path,
    kind: str,
    codec: str,
    colours: str,
    options: dict[str, str],
    pictures: Iterable[np.ndarray],
    rate: Fraction,
) -> None:
    import av

    with av.open(str(part), "w", format=kind) as container:
        container.metadata["comment"] = WRITTEN
        stream: Any = None
        for picture in pictures:
            even = np.pad(picture, ((0, picture.shape[0] % 2), (0, picture.shape[1] % 2), (0, 0)), "edge")
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=options)
                stream.height, stream.width, stream.pix_fmt = *even.shape[:2], colours
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
