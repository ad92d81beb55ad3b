"""What fits heads to faces, as params ask for it or as the heads of a flame.h5 were fitted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fgcli import artifacts, assets, config
from fgcli.config import build, supply
from fgcli.console import say
from fgcli.errors import FgError, UsageError
from fgcli.faces.cutter import Cut, Settings
from fgcli.faces.landmark_errors import measure
from fgcli.fitting import EXTRACTORS
from fgcli.fitting.extract import identity, verify_today
from fgcli.fitting.extraction import Extraction
from fgcli.fitting.landmark_fit import LandmarkFit
from fgcli.fitting.photometric_fit import PhotometricFit
from fgcli.generators import store
from fgcli.heads import HEADS
from fgcli.heads.head import Head
from fgcli.heads.parameters import Parameters
from fgcli.training.devices import cpu_or_cuda


def prepare(
    settings: Mapping[str, Any], analyser: Mapping[str, Any], framing: float, regressor: Path
) -> tuple[Extraction, dict[str, Any], str]:
    """What fits heads, what a file tells of it: head and method, and the words for a person.

    Args:
        settings: params of `fg flame`.
        analyser: what found the landmarks.
        framing: of the crops, against FFHQ's.
        regressor: regressor.h5, if it is there.

    Raises:
        FgError: the method that was asked for cannot work here.
    """
    head = build(HEADS, settings["head"], "flame.head")
    name, why = method(settings["method"], head, regressor)
    if name not in EXTRACTORS:
        raise UsageError(f"flame.method: expected one of auto, {', '.join(EXTRACTORS)}, found {name!r}")
    errors = measure(head, analyser).scaled(settings["analyser_errors"])
    who = identity(head, settings["head"])
    head = head.to(cpu_or_cuda(settings["device"]))
    context = {"head": head, "regressor": regressor, "framing": framing}
    extractor = supply(EXTRACTORS, {"name": name}, "flame.method", **context)
    refine = settings["refine"]
    if refine == "auto":
        refine = "none" if name == "deca" else "photometric" if analyser.get("name") == "exact" else "landmarks"
    words = f"flame: head {head.name}, first guess by {name} ({why}), refined by {refine}. {head.notice}"
    modes = {"shape": settings["shape_modes"], "expression": settings["expression_modes"]}
    landmarks = LandmarkFit(**modes) if refine != "none" else None
    steps = settings["photometric_steps"]
    photometric = PhotometricFit(**modes, steps=steps) if refine == "photometric" else None
    told = {"head": who, "method": {"name": name, "refine": refine}}
    return Extraction(head, extractor, landmarks, photometric, errors), told, words


def method(asked: str, head: Head, regressor: Path) -> tuple[str, str]:
    """The method and why it was taken."""
    if asked != "auto":
        return asked, "as asked"
    if head.name == "flame" and assets.find("deca"):
        return "deca", "its weights are imported"
    if regressor.exists():
        return "regress", f"{regressor} is here"
    return "fit", f"there is no {regressor}; fg regressor makes it"


class Fitter:
    """Fits heads to photos as those of flame.h5 were fitted, by the params that fitted them, if any did.

    Args:
        generator: that the heads steer.
        flame: fitted heads. regressor: regressor.h5, if it is there.
        cut: how photos are cut for the generator.

    Attributes:
        extraction: does it, see `prepare`.

    Raises:
        FgError: a flame.h5 of another head, or what it was made with is not here.
    """

    def __init__(self, generator: Path, flame: Path, regressor: Path, cut: Settings) -> None:
        stored = artifacts.load(flame, artifacts.FLAME, ())
        store.verify_head(flame, generator)
        settings: dict[str, Any] = dict(config.defaults()["flame"])
        if stored.meta["method"]["name"] in EXTRACTORS:
            settings |= {key: stored.params[key] for key in settings if key in stored.params}
        settings |= {"head": stored.meta["head"]["build"], "device": "cpu"}
        self.extraction, told, words = prepare(settings, cut.analyser, cut.framing, regressor)
        say(words)
        verify_today(told["head"], stored.meta["head"], flame)

    def head_of(self, cut: Cut, name: str) -> Parameters:
        """The head (a single row) of a crop of the photo `name`.

        Raises:
            FgError: the fit failed.
        """
        found = self.extraction.fit(cut.image[None], cut.mask[None], cut.landmarks[None])
        if found["status"][0] != "ok":
            raise FgError(
                f"{name}: expected a face whose head can be found, found {found['status'][0]}; choose another"
            )
        return Parameters.from_arrays(found)
