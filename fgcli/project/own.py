"""A project for a user's own photos."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fgcli import config
from fgcli.datasets import DATASETS
from fgcli.errors import FgError, UsageError
from fgcli.project import pipelines, rule, texts

if TYPE_CHECKING:
    from fgcli.datasets.photoset import PhotoSet
    from fgcli.stages.preprocess import Params as Preprocess
    from fgcli.stages.train import Params as Train

PRESETS = Path(__file__).with_name("presets.yaml")
NO_LABELS = {"methods": {"components": {"name": "pca", "components": 8}}}
"""Section `editor` where no photo has a label: directions that nobody has named."""
CHECKED = (
    "preprocess", "heads", "regressor", "flame", "train", "invert", "judges", "density", "editor", "edits", "evaluate",
    "report",
)  # fmt: skip
"""The stages of the project's dvc.yaml."""
README = """# Faces of {name}

    dvc repro         # photos to out/report.html; goes on where it was interrupted
    fg studio         # or: fg edit PHOTO -a {attribute}=1 -o edited.png; fg sample -n 64 -o samples.png

{photos} photos of `{path}`, {size} px, by a `{generator}`. All that can be changed stands in `params.yaml`.
How long it trains: {rule}. A picture that is not good enough wants more `train.steps`.
Beside them: {beside}.
If more than a tenth of the photos is rejected, preprocess stops: `fg data rejected` tells why, and
`preprocess.max_rejected` allows it.
"""


def files(
    folder: Path, photos: Path, labels: Path | None, size: int, generator: str, alone: bool
) -> tuple[dict[str, str], Any]:
    """The files of the project, by path, and what follows from the photos; `alone`: no others train beside them.

    Raises:
        UsageError: an unknown generator, params that do not fit together, too few photos, or the project among them.
        FgError: no photos, or a table that does not fit them.
    """
    from fgcli.datasets.files import own_files
    from fgcli.datasets.image_folder import image_folder

    data = {"name": "image_folder", "path": str(photos.expanduser().absolute())}
    data |= {"attributes": str(labels.expanduser().absolute())} if labels else {}
    reads = own_files([data])
    if any(folder.resolve().is_relative_to(path.resolve()) for path in reads):
        raise UsageError(f"{folder}: expected a folder apart from the photos, found it among them; name another")
    found = image_folder(data["path"], data.get("attributes"))
    count = len(found)
    if count < rule.LEAST:
        raise UsageError(f"--photos {photos}: expected {rule.LEAST} photos or more, found {count}; add some")
    others, beside = ([], "no other faces, as asked") if alone else company(count, size)
    attributes = [name for other in (found, *others) for name in other.attribute_names if name != "colour"]
    total = count + sum(map(len, others))
    changes = changed([data, *({"name": other.name} for other in others)], total, size, generator, bool(attributes))
    verify(changes)
    about = {
        "photos": count,
        "beside": beside,
        "rule": rule.RULE,
        "train": {key: changes["train"][key] for key in ("steps", "batch", "augment")},
    }
    told = {"name": folder.absolute().name, "path": photos, "attribute": (attributes or ["component_1"])[0]}
    readme = README.format(**told, size=size, generator=generator, photos=count, rule=rule.RULE, beside=beside)
    params = texts.put(pipelines.DEFAULTS.read_text(encoding="utf-8"), changes)
    dvc = pipelines.own([str(path) for path in reads], bool(attributes), regressor=count >= rule.FEW)
    return {"params.yaml": params, "dvc.yaml": dvc, "README.md": readme}, about


def company(photos: int, size: int) -> tuple[list[PhotoSet], str]:
    """Data sets that train beside so few photos, if they are here, and a clause that says which or why none."""
    names = rule.beside(photos, size)
    if not names:
        return [], f"no other faces, which only fewer than {rule.FEW} photos up to {max(rule.BESIDE.values())} px take"
    try:
        found: list[PhotoSet] = [config.lookup(DATASETS, name, "preprocess.datasets")() for name in names]
    except FgError as error:
        return [], f"no other faces ({error}, then make the project anew): those that are not among yours are met badly"
    listed = ", ".join(f"{len(data)} of {data.name}" for data in found)
    return found, f"{listed}, since {photos} alone would meet other faces badly (fg init --alone)"


def changed(data: list[dict[str, str]], photos: int, size: int, generator: str, labelled: bool) -> dict[str, Any]:
    """What differs from fg's params.yaml."""
    presets = config.parse(PRESETS)
    if generator not in presets:
        near = config.near(generator, presets)
        raise UsageError(f"--generator: expected one of {', '.join(presets)}, found {generator!r}{near}")
    changes: dict[str, Any] = {
        "preprocess": {"datasets": data, "size": size},
        "train": rule.training(photos, size),
    }
    mixture = config.defaults()["density"]["methods"]
    if (components := rule.components(photos)) < mixture["gmm"]["components"]:
        changes["density"] = {"methods": {**mixture, "gmm": {**mixture["gmm"], "components": components}}}
    if not labelled:
        changes["editor"] = NO_LABELS
    return dict(config.overlay(changes, presets[generator]))


def verify(changes: dict[str, Any]) -> None:
    """Raises UsageError where a stage refuses its params, or generator and objective do not fit the size."""
    raw = config.overlay(config.defaults(), changes)
    params = {
        name: config.section(raw, name, importlib.import_module(f"fgcli.stages.{name}").Params) for name in CHECKED
    }
    verify_training(params["train"], params["preprocess"])


def verify_training(params: Train, preprocess: Preprocess) -> None:
    """Makes the generator, of layers without numbers, and its objective."""
    import torch

    from fgcli.config import supply
    from fgcli.objectives import OBJECTIVES
    from fgcli.stages.train import make_generator

    with torch.device("meta"):
        generator = make_generator(params, (1, preprocess.size, preprocess.size, 3))
    given = {"generator": generator, "seed": params.seed, "batch": params.batch}
    supply(OBJECTIVES, params.objective, "train.objective", **given)
