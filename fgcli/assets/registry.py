"""The table of external weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asset:
    """One file of weights that fg does not ship.

    Exactly one of `url` (a person fetches it) and `package` (it lies inside an installed Python package) is set.
    """

    name: str
    file: str
    """File name in the assets folder, or path inside `package`."""
    bytes: int
    sha256: str
    licence: str
    needed_by: tuple[str, ...]
    """Stages and metrics, by the names under which results print them."""
    without: str
    """What still works without it."""
    url: str = ""
    package: str = ""


_IMAGENET = "BSD-3-Clause (torchvision); trained on ImageNet, whose terms are research and non-commercial"
_CC0 = "CC0"
_300W = "CC0 by its package; its training photos (300-W) exclude commercial use"
_FACE_MODELS = "face_recognition_models"

_TABLE = (
    Asset(
        name="alexnet",
        file="alexnet-owt-7be5be79.pth",
        bytes=244_408_911,
        sha256="7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        licence=_IMAGENET,
        needed_by=("lpips_alex",),
        without="every other metric",
        url="https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    ),
    Asset(
        name="vgg16",
        file="vgg16-397923af.pth",
        bytes=553_433_881,
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        licence=_IMAGENET,
        needed_by=("lpips_vgg",),
        without="every other metric",
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
    ),
    Asset(
        name="inception",
        file="weights-inception-2015-12-05-6726825d.pth",
        bytes=95_628_359,
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        licence="Apache-2.0 (TensorFlow models); trained on ImageNet, whose terms are research and non-commercial",
        needed_by=("fid_inception",),
        without="frechet_dlib_embedding and every other metric",
        url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
    ),
    Asset(
        name="dlib_embedding",
        file="models/dlib_face_recognition_resnet_model_v1.dat",
        bytes=22_466_066,
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        licence=_CC0,
        needed_by=("identity", "identity_distance", "identity_same", "frechet_dlib_embedding"),
        without="every metric of pixels",
        package=_FACE_MODELS,
    ),
    Asset(
        name="dlib_landmarks_68",
        file="models/shape_predictor_68_face_landmarks.dat",
        bytes=99_693_937,
        sha256="fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        licence=_300W,
        needed_by=("preprocess",),
        without="every stage after preprocess",
        package=_FACE_MODELS,
    ),
)

ASSETS = {asset.name: asset for asset in _TABLE}
