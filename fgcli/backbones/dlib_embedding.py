"""dlib's 128-d face embedding of aligned crops.

The crops are aligned, so one chip geometry serves all of them, real and generated: a generated face needs no detector,
which could refuse it, and no landmarks, which could flatter it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

import dlib
import numpy as np

from fgcli import assets
from fgcli.backbones import IdentityJudge
from fgcli.errors import FgError
from fgcli.workers import Work, cores, team

CHIP, PADDING, FEATURES = 150, 0.25, 128
THRESHOLD = 0.6
"""Two faces nearer than this are one person (dlib's published threshold)."""
CHUNK = 8
"""Images per task of a worker: about half a second."""
MOST_WORKERS = 8
"""Each holds about 600 MB."""
_FINE = 256
"""dlib's landmarks are whole numbers: they are given in 1/256 px."""


class Geometry(NamedTuple):
    """The square of the crop that becomes dlib's chip: centre and side (px), angle (radians)."""

    x: float
    y: float
    side: float
    angle: float


def geometry(landmarks: np.ndarray) -> Geometry:
    """The chip of a face with these 68 landmarks (68, 2), as dlib.get_face_chip_details finds it."""
    points = dlib.points([dlib.point(int(x), int(y)) for x, y in np.rint(np.asarray(landmarks) * _FINE)])
    shape = dlib.full_object_detection(dlib.rectangle(0, 0, 1, 1), points)
    chip = dlib.get_face_chip_details(shape, CHIP, PADDING)
    centre = chip.rect.dcenter()
    return Geometry(centre.x / _FINE, centre.y / _FINE, chip.rect.width() / _FINE, chip.angle)


def chips(images: np.ndarray, place: Geometry) -> list[np.ndarray]:
    """dlib's (150, 150, 3) chips of uint8 images (n, h, w, 3); black where they reach beyond the image."""
    half = (place.side - 1) / 2  # dlib's rectangles hold both of their border pixels
    rect = dlib.drectangle(place.x - half, place.y - half, place.x + half, place.y + half)
    details = dlib.chip_details(rect, dlib.chip_dims(CHIP, CHIP), place.angle)
    # dlib reads a view with other strides without a word, and wrongly.
    return [dlib.extract_image_chip(np.ascontiguousarray(image), details) for image in images]


class DlibEmbedding(IdentityJudge):
    """Embeds aligned faces; many at once are spread over the processor's cores.

    An image met before in the same run is not embedded again. Use as a context manager, to end the processes.

    Args:
        landmarks: (68, 2) mean landmarks of the aligned crops, px; None where the images are no faces.
        workers: processes; one per usable core, but not above MOST_WORKERS, when None.
        cluster: dask:ADDRESS of workers to take instead of processes; "" for none.
    """

    name, size = "dlib_embedding", FEATURES
    title, below = "dlib", THRESHOLD

    def __init__(self, landmarks: np.ndarray | None, workers: int | None = None, cluster: str = "") -> None:
        self.is_for_faces = landmarks is not None
        self.place = Geometry(0.0, 0.0, 0.0, 0.0) if landmarks is None else geometry(landmarks)
        self._workers, self._cluster = workers or min(cores(), MOST_WORKERS), cluster
        self._known: dict[bytes, np.ndarray] = {}
        self._open = ExitStack()
        self._team: Work | None = None
        self._net: Any = None

    def verify(self, who: str) -> None:
        """Finds dlib's model, before anything is embedded.

        Raises:
            FgError: not installed, or damaged; or the images are no faces.
        """
        if not self.is_for_faces:
            raise FgError(f"{who}: expected faces with landmarks, found none; measure with what needs no faces")
        assets.need("dlib_embedding", who)

    @property
    def protocol(self) -> dict[str, Any]:
        """What travels with every number made of these embeddings."""
        return {
            "features": "dlib face_recognition_resnet_model_v1, 128-d",
            "weights_sha256": assets.ASSETS["dlib_embedding"].sha256,
            "alignment": f"one chip for all images, real and generated: dlib's {CHIP} px chip with padding {PADDING} "
            "of the mean training landmarks",
            "chip_centre_side_px_angle_rad": [round(float(v), 4) for v in self.place],
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Embeddings (n, 128) float32 of aligned uint8 images (n, h, w, 3).

        Raises:
            ValueError: not uint8 (n, h, w, 3).
            FgError: dlib's model is not installed or damaged.
        """
        self.verify("face embeddings")
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"expected uint8 (n, h, w, 3), got {images.dtype} {images.shape}")
        keys = [hashlib.sha256(image.tobytes()).digest() for image in images]
        new = list({key: i for i, key in enumerate(keys) if key not in self._known}.values())
        parts = [new[i : i + CHUNK] for i in range(0, len(new), CHUNK)]
        for part, vectors in self._embed(images, parts):
            self._known.update({keys[i]: v for i, v in zip(part, vectors, strict=True)})
        return np.array([self._known[key] for key in keys], np.float32).reshape(-1, FEATURES)

    def _embed(self, images: np.ndarray, parts: Sequence[list[int]]) -> Iterator[tuple[list[int], np.ndarray]]:
        """Each part with the vectors of its images."""
        alone = self._workers < 2 and not self._cluster
        if alone or (len(parts) < 2 and self._team is None):
            self._net = self._net or _network()
            yield from ((part, _describe(self._net, self.place, images[part])) for part in parts)
            return
        if self._team is None:
            self._team = self._open.enter_context(team(_network, self._workers, "face embeddings", self._cluster))
        yield from self._team(_work, [(part, self.place, images[part]) for part in parts])

    def distance(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Euclidean (n) of rows (n, 128)."""
        return np.linalg.norm(a - b, axis=-1)

    def close(self) -> None:
        """Ends the processes."""
        self._open.close()
        self._team = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OneFace:
    """Embeds one face after the other, each by its own landmarks.

    Raises:
        FgError: dlib's model is not installed or damaged.
    """

    def __init__(self) -> None:
        self._net: Any = _network()

    def __call__(self, image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(128,) float32 of an aligned uint8 image (h, w, 3) with these landmarks (68, 2), px."""
        return _describe(self._net, geometry(landmarks), image[None])[0]


def shared(embedder: DlibEmbedding) -> DlibEmbedding:
    """The run's embedder as an extractor of features: it sees whose face it is and little else.

    Args:
        embedder: embeds aligned faces.

    Raises:
        FgError: dlib's model is not installed or damaged; or the images are no faces.
    """
    embedder.verify("features dlib_embedding")
    return embedder


def _describe(net: Any, place: Geometry, images: np.ndarray) -> np.ndarray:
    return np.array([net.compute_face_descriptor(chip) for chip in chips(images, place)], np.float32)


def _network() -> Any:
    return dlib.face_recognition_model_v1(str(assets.need("dlib_embedding", "face embeddings")))


def _work(net: Any, item: tuple[list[int], Geometry, np.ndarray]) -> tuple[list[int], np.ndarray]:
    part, place, images = item
    return part, _describe(net, place, images)
