"""The table of external weights."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Asset:
    """One file of weights that fg does not ship.

    Exactly one of `url` (a person fetches it), `package` (it lies inside an installed Python package) and `page` (a
    person signs up there and fetches one of several editions) is set. Only of the last kind the bytes are not known:
    the file is proved by its keys and shapes, and stored in a form of our own.
    """

    name: str
    file: str
    """File name in the assets folder, or path inside `package`."""
    licence: str
    needed_by: tuple[str, ...]
    """Stages and metrics, by the names under which results print them, or the params that ask for it."""
    without: str
    """What still works without it."""
    bytes: int = 0
    sha256: str = ""
    url: str = ""
    package: str = ""
    page: str = ""
    aliases: tuple[str, ...] = ()
    """Under which names the editions of a `page` are published."""
    holds: str = ""
    """What a file of a `page` must hold."""


_IMAGENET = "BSD-3-Clause (torchvision); trained on ImageNet, whose terms are research and non-commercial"
_CC0 = "CC0"
_300W = "CC0 by its package; its training photos (300-W) exclude commercial use"
_FACE_MODELS = "face_recognition_models"
_FLAME_EXTRAS = "registration, non-commercial research, not to be passed on: read the publisher's terms"
_FLAME = f"{_FLAME_EXTRAS}; the edition FLAME 2023 Open is published as CC-BY-4.0 with attribution and bans on misuse"
_FLAME_PAGE = "https://flame.is.tue.mpg.de"
_DECA_PAGE = "https://deca.is.tue.mpg.de"
_DECA_CODE = "https://github.com/yfeng95/DECA (folder data)"
_RINGNET_CODE = "https://github.com/soubhiksanyal/RingNet (folder flame_model)"
_PROCEDURAL = "the procedural head"

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
        needed_by=("features=inception",),
        without="every other metric, and these with other features",
        url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
    ),
    Asset(
        name="dlib_embedding",
        file="models/dlib_face_recognition_resnet_model_v1.dat",
        bytes=22_466_066,
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        licence=_CC0,
        needed_by=("identity", "identity_distance", "identity_same", "features=dlib_embedding"),
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
    Asset(
        name="flame_model",
        file="flame_model.h5",
        licence=_FLAME,
        needed_by=("flame.head.name=flame",),
        without=_PROCEDURAL,
        page=_FLAME_PAGE,
        aliases=("flame2023_Open.pkl", "flame2023.pkl", "generic_model.pkl", "FLAME_NEUTRAL.pkl", "FLAME_NEUTRAL.npz"),
        holds="v_template (v,3), f, shapedirs (v,3,400), posedirs (v,3,36), J_regressor (5,v), weights (v,5)",
    ),
    Asset(
        name="flame_landmarks",
        file="flame_landmarks.h5",
        licence=_FLAME_EXTRAS,
        needed_by=("flame.head.name=flame",),
        without=_PROCEDURAL,
        page=_DECA_CODE,
        aliases=("landmark_embedding.npy",),
        holds="full_lmk_faces_idx (68), full_lmk_bary_coords, dynamic_lmk_faces_idx (79,17), dynamic_lmk_bary_coords",
    ),
    Asset(
        name="flame_landmarks_static",
        file="flame_landmarks_static.h5",
        licence=_FLAME_EXTRAS,
        needed_by=("flame.head.name=flame",),
        without="flame_landmarks, or the procedural head,",
        page=_RINGNET_CODE,
        aliases=("flame_static_embedding.pkl",),
        holds="lmk_face_idx (51), lmk_b_coords (51,3)",
    ),
    Asset(
        name="flame_landmarks_dynamic",
        file="flame_landmarks_dynamic.h5",
        licence=_FLAME_EXTRAS,
        needed_by=("flame.head.name=flame",),
        without="flame_landmarks, or the procedural head,",
        page=_RINGNET_CODE,
        aliases=("flame_dynamic_embedding.npy",),
        holds="lmk_face_idx (79,17), lmk_b_coords (79,17,3)",
    ),
    Asset(
        name="flame_texture",
        file="flame_texture.h5",
        licence="CC-BY-NC-SA-4.0",
        needed_by=("flame.head.texture=flame",),
        without="the head without a texture",
        page=_FLAME_PAGE,
        aliases=("FLAME_texture.npz",),
        holds="mean (512,512,3), tex_dir (512,512,3,200), vt, ft",
    ),
    Asset(
        name="flame_texture_bfm",
        file="flame_texture_bfm.h5",
        licence=_FLAME_EXTRAS,
        needed_by=("flame.head.texture=bfm",),
        without="the head without a texture",
        page="https://faces.dmi.unibas.ch/bfm",
        aliases=("FLAME_albedo_from_BFM.npz",),
        holds="MU (512,512,3), PC (512,512,3,199)",
    ),
    Asset(
        name="flame_template",
        file="flame_template.h5",
        licence=_FLAME_EXTRAS,
        needed_by=("flame.head.texture=bfm",),
        without="flame_texture, which has the same coordinates,",
        page=_DECA_CODE,
        aliases=("head_template.obj",),
        holds="vt and f v/vt/vn: texture coordinates",
    ),
    Asset(
        name="flame_masks",
        file="flame_masks.h5",
        licence=_FLAME_EXTRAS,
        needed_by=("flame.head.name=flame",),
        without=_PROCEDURAL,
        page=_FLAME_PAGE,
        aliases=("FLAME_masks.pkl",),
        holds="vertex ids by region: face, neck, scalp, ...",
    ),
    Asset(
        name="deca",
        file="deca.h5",
        licence=_FLAME_EXTRAS,
        needed_by=("flame.method=deca",),
        without="flame.method=fit or regress",
        page=_DECA_PAGE,
        aliases=("deca_model.tar",),
        holds="E_flame: encoder.* of a ResNet-50, layers.0 (1024,2048), layers.2 (236,1024)",
    ),
)

ASSETS = {asset.name: asset for asset in _TABLE}
