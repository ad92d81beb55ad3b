"""What the heads of files say of them: the types of meta, and a mapping that tells what it lacks.

Keys that not every file of a kind has, such as those that came later, are not required.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Generic, Literal, NotRequired, TypeVar

import pydantic
from typing_extensions import TypedDict

from fgcli.errors import FgError

Count = Annotated[int, pydantic.Field(ge=0, lt=2**63)]
Size = Annotated[int, pydantic.Field(ge=1, le=2**20)]
Positive = Annotated[float, pydantic.Field(gt=0, le=2**20)]


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("input should be text")
    return value


Text = Annotated[Any, pydantic.PlainValidator(_text)]
"""A str; pydantic's own knows no names of files that are other than UTF-8."""
Names = list[Text]
Content = Literal["faces", "digits", "pictures"]
"""What the rows of faces.h5 are, its meta `content`: faces, with masks, landmarks and crop; or, taken whole and without
these, written and printed digits, or pictures of other things."""
Language = Literal["expressions", "smiles", "selfies", "text"]
"""What the sentences of sentences.h5 mean: arithmetic, molecules in two notations; text: nothing but their grammar."""
Space = Literal["z", "w", "w+"]


class Component(TypedDict):
    """A registry name, and arguments."""

    name: Text


class Part(TypedDict):
    """The same where there may be none."""

    name: NotRequired[Text]
    notice: NotRequired[Text]


class Pictures(TypedDict):
    """A data set of faces.h5."""

    name: Text
    photos: Count
    licence: Text


class Build(Component):
    """How a generator is built."""

    image_shape: Annotated[list[Size], pydantic.Field(min_length=3, max_length=3)]


class Method(TypedDict):
    """A fitted density or editor: how it is built, and how well it did."""

    build: Component
    scores: dict[str, float | dict[str, Any]]


class FittedEditor(Method):
    """The same, and on what each attribute was matched."""

    matched: dict[Text, Names]


class Trial(TypedDict):
    """A search over codes."""

    row: Count | None
    best: Count | None
    rounds: list[dict[str, float | None]]


class Cut(TypedDict):
    """The params of the stage that made the faces; of pictures taken whole there are few."""

    size: NotRequired[Size]
    framing: NotRequired[Positive]
    analyser: NotRequired[Component]
    segmenter: NotRequired[Component]
    max_megapixels: NotRequired[Positive]


class HeadTold(TypedDict):
    """Which head the parameters are of."""

    name: Text
    build: Component
    sha256: Text


class Training(TypedDict):
    """How a network was trained."""

    rows: NotRequired[Count | dict[str, Count]]
    steps: NotRequired[Count]
    best_step: NotRequired[Count]
    best_loss: NotRequired[float]
    precision: NotRequired[Text]
    score: NotRequired[Text]
    preprocess: NotRequired[Cut]
    accuracy: NotRequired[dict[str, float]]
    head: NotRequired[HeadTold]


class RegressorTraining(Training):
    """How a regressor was trained."""

    framing: Positive


class RegressorBuild(TypedDict):
    """How a regressor is built."""

    sizes: dict[str, Count]
    width: Size


class ClassifierBuild(TypedDict):
    """How a classifier is built."""

    classes: Size
    side: Size
    width: Positive


class JudgesBuild(TypedDict):
    """How judges are built: the network for pictures, their side; and, if they judge codes, the size of these."""

    network: Component
    side: Size
    codes: NotRequired[Size]
    hidden: NotRequired[Size]


class Best(TypedDict):
    """The lowest score of a run so far, if there is one."""

    best_step: Count | None
    best_loss: float | None


Pair = Annotated[list[float], pydantic.Field(min_length=2, max_length=2)]
"""A sum and the number of its parts."""


class Protocols(TypedDict):
    """How the numbers were measured."""

    models: NotRequired[dict[str, dict[str, Any]]]
    reconstruction: NotRequired[dict[str, dict[str, Any]]]
    distribution: NotRequired[dict[str, dict[str, Any]]]
    sentences: NotRequired[dict[str, Any]]
    masks: NotRequired[dict[str, str]]
    sets: NotRequired[dict[str, str]]
    left_out: NotRequired[dict[str, str]]
    intervals: NotRequired[dict[str, Any]]
    split: NotRequired[Text]
    seed: NotRequired[Count]


V = TypeVar("V")


class Told(dict[str, V], Generic[V]):
    """A mapping read from a file: what it lacks is the file's fault.

    >>> Told({"a": 1}, "x.h5", "meta", "run again")["b"]
    Traceback (most recent call last):
    fgcli.errors.FgError: x.h5: expected meta b, found none; run again
    """

    def __init__(self, content: Mapping[str, V], path: object, place: str, mend: str) -> None:
        super().__init__(content)
        self._where = path, place, mend

    def __missing__(self, key: str) -> V:
        """Raises FgError."""
        path, place, mend = self._where
        raise FgError(f"{path}: expected {place} {key}, found none; {mend}")


def told(content: Any, path: object, place: str, mend: str) -> Any:
    """JSON whose mappings, however deep, are `Told`."""
    if isinstance(content, dict):
        inner = {key: told(value, path, f"{place} {key}".replace(" ", "."), mend) for key, value in content.items()}
        return Told(inner, path, place, mend)
    return [told(item, path, place, mend) for item in content] if isinstance(content, list) else content


def mistake(kind: Any, value: Any) -> str:
    """What is wrong with a JSON value that should be of a type, as `.key: ...`; "" where nothing is."""
    try:
        _adapter(kind).validate_python(value, strict=True)
    except pydantic.ValidationError as error:
        first: Any = error.errors()[0]
        where = "".join(f".{part}" for part in first["loc"] if isinstance(part, int) or part in str(value))
        if first["type"] == "missing":
            return f".{'.'.join(map(str, first['loc']))}: expected a value, found none"
        expected = first["msg"].removeprefix("Value error, ").replace("Input", "input")
        return f"{where}: {expected}, found {json.dumps(first['input'])[:80]}"
    return ""


@cache
def _adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)
