"""What each HDF5 file holds: names, types, axes, units.

Axes: n items, c channels, h and w pixels, d code size, l code layers, k attributes. Two fields of one file that
name the same axis have the same length there. Images are uint8; masks are 0 or 255, 255 on the face; image
positions are pixels from the top left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fgcli.artifacts import told


@dataclass(frozen=True)
class Field:
    """One dataset.

    Attributes:
        dtype: numpy's name of it, or "str" for text.
        axes: by name or length, as "n 68 2".
        meaning: and unit.
        optional: whether it may lack.
        low: least value of numbers. high: the greatest. Those of floats are finite; `nan`: or NaN, where there is none.
        names: meta key of the list that the values are places in, if the list has any.
    """

    dtype: str
    axes: str
    meaning: str
    optional: bool = False
    low: float = -math.inf
    high: float = math.inf
    nan: bool = False
    names: str = ""


@dataclass(frozen=True)
class Schema:
    """One kind of file.

    Attributes:
        fields: its datasets by name.
        groups: of datasets that the method decides; numbers in those of `finite` are finite.
        meta: required keys and the types of their values.
        more: the same of keys that may lack.
        params: type of the params, as far as others read them.
        lengths: axes that are as long as a list in meta, by its key.
    """

    name: str
    version: int
    fields: dict[str, Field] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    finite: tuple[str, ...] = ()
    more: Mapping[str, Any] = field(default_factory=dict)
    params: Any = dict[str, Any]
    lengths: Mapping[str, str] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """Name and version, as files carry them."""
        return f"{self.name}/{self.version}"


SPLITS = ("train", "val", "test")
"""Names of the values 0, 1, 2 of a split."""

FACES = Schema(
    "faces",
    2,
    {
        "images": Field("uint8", "n h w c", "aligned crops, or whole pictures, RGB"),
        "masks": Field("uint8", "n h w", "255 on the face, 0 elsewhere", optional=True),
        "landmarks": Field("float32", "n 68 2", "68 landmarks (x, y), crop px", optional=True),
        "crop": Field("float32", "n 2 3", "affine map from source px to crop px", optional=True),
        "enlargement": Field(
            "float32", "n", "side of the crop over that of its frame in the photo", low=0, optional=True
        ),
        "attributes": Field("int8", "n k", "1 has it, 0 has it not, -1 unknown; names in meta", low=-1, high=1),
        "identity": Field(
            "int32",
            "n",
            "person, or class of a picture, -1 unknown; names in meta identity_names",
            low=-1,
            names="identity_names",
        ),
        "split": Field("uint8", "n", "0 train, 1 val, 2 test", low=0, high=2),
        "group": Field("int32", "n", "equal for photos of one person, or nearly equal ones", low=0, optional=True),
        "source": Field("str", "n", "data set and name of the photo"),
        "rejected/source": Field("str", "r", "photos that gave no row"),
        "rejected/reason": Field("str", "r", "why, one sentence each"),
    },
    meta={
        "content": told.Content,
        "attribute_names": told.Names,
        "datasets": list[told.Pictures],
        "analyser": told.Part | None,
        "segmenter": told.Part | None,
    },
    more={"identity_names": told.Names, "ignored": dict[told.Text, told.Count]},
    params=told.Cut,
    lengths={"k": "attribute_names"},
)
"""analyser, segmenter: what found and masked the faces; none of pictures taken whole."""

FLAME = Schema(
    "flame",
    1,
    {
        "shape": Field("float32", "n 100", "identity coefficients, standard deviations"),
        "expression": Field("float32", "n 50", "expression coefficients, standard deviations"),
        "pose": Field("float32", "n 6", "axis-angle of the head, then of the jaw, radians"),
        "camera": Field(
            "float32", "n 3", "s, tx, ty of the weak perspective: x = s (X + tx), y = -s (Y + ty) in [-1, 1]"
        ),
        "texture": Field("float32", "n 50", "albedo coefficients, standard deviations"),
        "light": Field("float32", "n 9 3", "spherical harmonics of each colour channel"),
        "landmarks2d": Field("float32", "n 68 2", "the head's landmarks, crop px"),
        "residuals": Field("float32", "n", "mean distance of the head's landmarks to those found, outer eye distances"),
        "colour_error": Field(
            "float32", "n", "root mean squared error of the render on the face, in [0, 1]; NaN: no texture", nan=True
        ),
        "status": Field("str", "n", "ok, or what is wrong with the row"),
        "split": Field("uint8", "n", "copied from faces.h5", low=0, high=2),
    },
    meta={"head": told.HeadTold, "method": told.Component},
    params=told.Cut,
)

REGRESSOR = Schema(
    "regressor",
    1,
    groups=("weights", "history"),
    meta={"build": told.RegressorBuild, "head": told.HeadTold, "training": told.RegressorTraining},
    finite=("weights",),
)
"""A network from faces to parameters of one head: weights/, history/ and how it was built."""

HEAD_PART = Schema(
    "head_part",
    1,
    groups=("arrays",),
    meta=dict.fromkeys(("part", "name", "source_sha256", "content_sha256", "licence"), told.Text),
    finite=("arrays",),
)
"""arrays/: one imported file of a foreign head or of its encoder, under our names; name: the file's own."""

CLASSIFIER = Schema(
    "classifier",
    1,
    groups=("weights", "history"),
    meta={
        "build": told.ClassifierBuild,
        "classes": list[told.Count],
        "identity_names": told.Names,
        "training": told.Training,
    },
    finite=("weights",),
)
"""A network that tells the identities of faces.h5 apart; classes: their values in its order, identity_names: theirs."""

JUDGES = Schema(
    "judges",
    1,
    {
        "landmarks": Field("float32", "68 2", "mean landmarks of training faces, crop px", optional=True),
        "mask": Field("uint8", "h w", "255 where most training faces are", optional=True),
    },
    groups=("weights",),
    meta={
        "build": told.JudgesBuild,
        "attributes": told.Names,
        "held_out": dict[told.Text, dict[told.Text, dict[told.Text, float]]],
    },
    finite=("weights",),
    more={"generator": told.Text, "identity": told.Component},
)
"""weights/images/, weights/codes/: networks that say which attributes a picture has, and a code of `generator`.
held_out: what each is worth on held-out rows, by attribute. landmarks: for the judge of identity, of faces alone."""

GENERATOR = Schema(
    "generator",
    1,
    groups=("weights", "ema", "history"),
    meta={"build": told.Build, "space": told.Space, "training": told.Training},
    finite=("weights", "ema"),
)
"""build: registry name and arguments. weights/, ema/: state dicts. history/: step and each term (steps)."""

CHECKPOINT = Schema(
    "checkpoint",
    1,
    groups=("state",),
    meta={"step": told.Count, "fingerprint": told.Text, "layout": Any},
    more={"best": told.Best, "sums": dict[told.Text, told.Pair], "code": told.Text, "early": bool},
    finite=("state/objective", "state/ema"),
)
"""Everything that a run needs to go on: nested state as arrays, its non-array part in layout."""

CONDITION = {
    "condition": Field(
        "uint8", "n h w c", "condition of each face, where its generator wants a picture", optional=True
    ),
    "condition_vector": Field("float32", "n p", "the same where it wants numbers", optional=True),
}
"""What the codes of a conditional generator are decoded with; one of both."""

LATENTS = Schema(
    "latents",
    2,
    {
        "codes": Field(
            "float32", "n l d", "one code per row of faces.h5", low=-1e9, high=1e9
        ),  # squares do not overflow
        "error": Field("float32", "n", "root mean squared error of the reconstruction on the face, in [0, 2]"),
        "attributes": Field("int8", "n k", "copied from faces.h5", low=-1, high=1),
        "split": Field("uint8", "n", "copied from faces.h5", low=0, high=2),
        "identity": Field(
            "int32", "n", "person of each face, copied from faces.h5; of faces alone", low=-1, optional=True
        ),
        **CONDITION,
    },
    meta={
        "space": told.Space,
        "generator": told.Text,
        "build": told.Component,
        "inverter": told.Component,
        "seed": told.Count,
        "self_test": dict[str, float],
        "attribute_names": told.Names,
    },
    lengths={"k": "attribute_names"},
)
"""generator: its sha256, build: what it is. inverter, seed: how the codes were found, and are to be for any photo.
self_test: how near that comes to pictures whose codes are known."""

SAMPLES = Schema(
    "samples",
    1,
    {
        "codes": Field("float32", "n l d", "one code per drawn face", low=-1e9, high=1e9),
        "seed": Field("uint64", "n", "the seed that draws this face alone"),
        "text": Field("str", "n", "of a sentence; empty where it does not finish", optional=True),
        "parameters": Field(
            "float32", "n 236", "of its head, as in conditions.h5, where heads are drawn", optional=True
        ),
        **CONDITION,
    },
    meta={"space": told.Space, "generator": told.Text, "density": told.Text, "truncation": float},
)
"""Drawn faces, whose rows are taken as those of latents.h5. density: its label, or prior."""

METHODS = {"space": told.Space, "generator": told.Text, "methods": dict[str, told.Method]}
DENSITY = Schema("density", 1, groups=("methods",), meta=METHODS, finite=("methods",))
"""methods/NAME/: the arrays of each fitted density; meta methods: its build and its scores."""

EDITOR = Schema(
    "editor",
    2,
    groups=("methods",),
    meta=METHODS | {"attributes": told.Names, "choice": told.Text, "methods": dict[str, told.FittedEditor]},
    finite=("methods",),
    more={"probes": dict[told.Text, float], "layers": list[told.Count]},
)
"""methods/NAME/: the arrays of each fitted editor; meta methods: its build, its scores and on what each attribute was
matched. choice: which attributes it learns and, if params name none, why not others."""

OPTIMUM = Schema(
    "optimum",
    1,
    {
        "codes": Field("float32", "n l d", "one code per candidate", low=-1e9, high=1e9),
        "trial": Field("int32", "n", "the search that asked for it", low=0),
        "round": Field("int32", "n", "of that search; 0: what was known before it asked", low=0),
        "value": Field("float64", "n", "what the score said; NaN of what has none", nan=True),
        "valid": Field("uint8", "n", "1 where it may be the answer", high=1),
        "predicted": Field("float64", "n", "what was believed of it when it was chosen; NaN in round 0", nan=True),
        "deviation": Field("float64", "n", "of that belief", nan=True),
        "pictures": Field("uint8", "n h w c", "what the code is decoded to", optional=True),
        "text": Field("str", "n", "the same of sentences", optional=True),
    },
    groups=("measures",),
    meta={"space": told.Space, "generator": told.Text, "trials": list[told.Trial]},
)
"""Candidates of a search over codes. measures/: what values are made of, such as the distance of identity. trials: of
each its first row in latents.h5, the place of its best candidate among these, and its rounds."""

CLASSES = Schema(
    "classes",
    1,
    {
        "predicted": Field("int32", "n", "the encoder's class"),
        "accepted": Field("uint8", "n", "1 where both thresholds are kept"),
        "reclassified": Field("int32", "n", "the decoder's class; -1 where it was not asked"),
        "distance": Field("float32", "n", "squared Mahalanobis distance of the code to the class"),
        "error": Field(
            "float32", "n", "squared error of the reconstruction in [0, 1], sum over pixels of channel means"
        ),
        "label": Field("int32", "n", "true class, -1 unknown"),
        "split": Field("uint8", "n", "copied from faces.h5", low=0, high=2),
    },
    meta={"generator": told.Text, "class_names": told.Names, "thresholds": dict[str, Any]},
)

ATTACKS = Schema(
    "attacks",
    1,
    {
        "attack": Field("str", "m", "its label in params"),
        "epsilon": Field("float32", "m", "largest change of a value in [0, 1]; NaN where it has no bound", nan=True),
        "row": Field("int32", "m", "row of faces.h5 that was attacked; -1 noise"),
        "label": Field("int32", "m", "its true class; -1 none"),
        "target": Field("int32", "m", "class to reach; -1 any but the true one"),
        "predicted": Field("int32", "m", "the encoder's class"),
        "accepted": Field("uint8", "m", "1 where both thresholds are kept"),
        "reclassified": Field("int32", "m", "the decoder's class; -1 where it was not asked"),
        "distance": Field("float32", "m", "squared Mahalanobis distance of the code to the class"),
        "error": Field(
            "float32", "m", "squared error of the reconstruction in [0, 1], sum over pixels of channel means"
        ),
    },
    meta={"generator": told.Text, "class_names": told.Names, "thresholds": dict[str, Any]},
)

CONDITIONS = Schema(
    "conditions",
    1,
    {
        "renders": Field(
            "uint8", "n h w c", "lit texture and normals (n + 1) / 2 of each face's head, black elsewhere"
        ),
        "parameters": Field(
            "float32", "n 236", "of that head: shape, expression, pose, camera, texture, light, as flame.h5 has them"
        ),
        "status": Field("str", "n", "ok, or why the row does not train"),
    },
    meta={"flame": told.Text, "head": told.HeadTold},
)
"""flame: its sha256."""

SENTENCES = Schema(
    "sentences",
    1,
    {
        "rules": Field(
            "int16", "n t", "rules of the grammar, -1 after the end; as meta names them", low=-1, names="rules"
        ),
        "text": Field("str", "n", "the sentence that the rules derive"),
        "target": Field("float32", "n", "the number that belongs to the sentence; NaN: none", nan=True),
        "split": Field("uint8", "n", "0 train, 1 val, 2 test", low=0, high=2),
        "rejected/source": Field("str", "r", "what is no sentence"),
        "rejected/reason": Field("str", "r", "where and why, one sentence each"),
    },
    meta={
        "grammar": told.Text,
        "rules": told.Names,
        "language": told.Language,
        "source": told.Text,
        "licence": told.Text,
    },
)
"""It stands where faces.h5 does. grammar: its text, from which all tables of a generator come; rules: as people read
them. language: what the sentences mean."""

EVALUATION = Schema(
    "evaluation",
    3,
    groups=("values", "replicates"),
    meta={"protocols": told.Protocols, "numbers": told.Text},
)
"""values/: the number of each image, or the features, behind every number in metrics.json, and their rows and people;
replicates/: what each number is in trials with other people. numbers: the hash of metrics.json."""

SCHEMAS = {
    s.name: s
    for s in (
        FACES,
        FLAME,
        REGRESSOR,
        HEAD_PART,
        CLASSIFIER,
        JUDGES,
        GENERATOR,
        CHECKPOINT,
        LATENTS,
        SAMPLES,
        DENSITY,
        EDITOR,
        OPTIMUM,
        CLASSES,
        ATTACKS,
        CONDITIONS,
        SENTENCES,
        EVALUATION,
    )
}
