"""faces.h5 -> judges.h5, judges.json: train what says which attributes a face, or its code, has; resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section, Spec
from fgcli.config.fields import Precision, Seed, Threads, TrainingDevice
from fgcli.console import say
from fgcli.errors import FgError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.classifiers.judges import ImageJudge, Judge, LatentJudge
    from fgcli.training.augment import Augment
    from fgcli.training.columns import Column
    from fgcli.training.devices import Compute


class Params(Section):
    """Params of `fg judges`."""

    network: Spec
    """Network that judges pictures: name in JUDGES, then its arguments."""
    hidden: Annotated[int, Field(ge=1)]
    """Units of the one that judges codes."""
    identity: Spec
    """What judges whether a face is still the same person's: name in IDENTITIES."""
    consistency: bool
    """Whether a second judge learns from reconstructions, and both judge photos and reconstructions."""
    steps: Annotated[int, Field(ge=1)]
    """Optimiser steps of each judge."""
    batch: Annotated[int, Field(ge=2)]
    """Rows per step."""
    learning_rate: Annotated[float, Field(gt=0)]
    """Adam's step size at its highest."""
    validate_steps: Annotated[int, Field(ge=1)]
    """Steps between validations and log lines."""
    checkpoint_seconds: Annotated[float, Field(gt=0)]
    """Seconds between checkpoints."""
    device: TrainingDevice
    precision: Precision
    threads: Threads
    seed: Seed
    """Seed of weights, order and strayed pictures."""


STRAYED = {"shift": 0.04, "zoom": 0.08, "rotate": 0.1, "light": 0.15, "tint": 0.15}
"""How far training pictures stray (see Augment); never mirrored: left and right are attributes."""
SWAPPED = 0.3
"""Share of the numbers of a training code that are another's."""


def run(
    faces: Path = Path("out/faces.h5"),
    latents: Path | None = Path("out/latents.h5"),
    generator: Path | None = Path("out/generator.h5"),
    output: Path = Path("out/judges.h5"),
    metrics: Path = Path("out/judges.json"),
    folder: Path = Path("out/judges"),
    *,
    params: Params,
    resume: bool = True,
) -> dict[str, Any]:
    """Trains on the training rows, calibrates on those that validate, and tells what is found on the test rows.

    Args:
        latents: codes of the same faces: a judge of codes is trained, too.
        generator: theirs; only read where `consistency` asks for reconstructions.

    Raises:
        FgError: no attribute that training rows have and have not, or files that do not belong together.
    """
    import torch

    from fgcli import artifacts
    from fgcli.training.devices import Compute

    compute = Compute.of(params)
    torch.manual_seed(params.seed)
    bench = Bench(params, compute, faces, folder, resume)
    images, inputs = artifacts.rows(faces, "images"), {"faces": faces}
    typical = bench.typical()
    meta = bench.identity(typical)
    judge = bench.of_images("images", images)
    judges: dict[str, Judge] = {"images": judge}
    numbers: dict[str, Any] = {"split": bench.tells(), "held_out": {"images": bench.worth(judge, images)}}
    build: dict[str, Any] = {"network": params.network, "side": judge.side}
    if latents:
        codes = artifacts.rows(latents, "codes")
        judges["codes"] = bench.of_codes(latents, codes)
        build |= {"codes": int(codes[0].size), "hidden": params.hidden}
        meta["generator"] = artifacts.load(latents, artifacts.LATENTS, ()).meta["generator"]
        numbers["held_out"]["codes"] = bench.worth(judges["codes"], codes)
        inputs["latents"] = latents
    if params.consistency:
        if latents is None or generator is None:
            raise FgError("judges.consistency: expected latents.h5 and generator.h5, found none; give both")
        inputs["generator"] = generator
        remade = reconstructions(generator, latents, folder)
        second = bench.of_images("reconstructions", remade, artifacts.sha256(latents))
        numbers["consistency"] = bench.consistency(numbers["held_out"]["images"], judge, second, images, remade)
    arrays = {f"weights/{name}/{k}": v.numpy() for name, j in judges.items() for k, v in j.state_dict().items()}
    arrays |= typical
    meta |= {"build": build, "attributes": bench.names, "held_out": numbers["held_out"]}
    artifacts.save(output, artifacts.JUDGES, arrays, params=params.model_dump(), inputs=inputs, meta=meta)
    artifacts.write_json(metrics, numbers)
    return {"output": str(output), "attributes": bench.names, **numbers}


@dataclass
class Bench:
    """What the judges of a run share: how and where they are trained, and the labels of faces.h5.

    Attributes:
        places: of the judged attributes among those of faces.h5. names: theirs.
        counts: (2, k) training rows without and with each.
        split: (n) of all rows. people: (n), equal where one person is shown.
    """

    params: Params
    compute: Compute
    faces: Path
    folder: Path
    resume: bool

    def __post_init__(self) -> None:
        import numpy as np

        from fgcli import artifacts

        about = artifacts.load(self.faces, artifacts.FACES, ("split", "attributes"))
        self.split, self.people = about["split"], artifacts.people(self.faces)
        train, names = about["attributes"][self.split == 0], about.meta["attribute_names"]
        counts = np.stack([(train == 0).sum(0), (train == 1).sum(0)])
        self.places = np.flatnonzero((counts > 0).all(0))
        self.names = [names[i] for i in self.places]
        self.counts, self.labels = counts[:, self.places], about["attributes"][:, self.places]
        if not self.names:
            found = f"none such among {', '.join(names)}" if names else "no attributes"
            raise FgError(
                f"{self.faces}: expected an attribute that some training rows have and some have not, found {found}; "
                "preprocess photos with a table of attributes"
            )
        if left := [name for name in names if name not in self.names]:
            say(f"judges: no judge of {', '.join(left)}: all training rows are alike in it")

    def rows(self, name: str) -> np.ndarray:
        """Those of a split; where it is empty those of the one before it."""
        import numpy as np

        from fgcli import artifacts

        place = artifacts.SPLITS.index(name)
        return np.flatnonzero(self.split == max(i for i in set(self.split.tolist()) if i <= place))

    def tells(self) -> str:
        """The split whose rows say what judges are worth; where it is not the test split, with a warning."""
        from fgcli import artifacts

        name = artifacts.SPLITS[int(self.split[self.rows("test")[0]])]
        if name != "test":
            say(f"judges: no rows of split test: what judges are worth is told by {name} rows, which they know")
        return name

    def typical(self) -> dict[str, np.ndarray]:
        """Where training faces have their landmarks and masks; nothing of pictures taken whole."""
        import numpy as np

        from fgcli import artifacts
        from fgcli.metrics.sets import region

        if "landmarks" not in artifacts.layout(self.faces):
            return {}
        train = self.rows("train")
        mask = np.where(region(artifacts.masks(self.faces), train), np.uint8(255), np.uint8(0))
        return {"landmarks": artifacts.rows(self.faces, "landmarks")[train].mean(0), "mask": mask}

    def identity(self, typical: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Which judge of identity a file names, whose weights are here; nothing for pictures taken whole.

        Raises:
            FgError: it is not here.
        """
        from fgcli import config
        from fgcli.backbones import IDENTITIES

        spec = self.params.identity
        if "landmarks" not in typical:
            config.lookup(IDENTITIES, spec["name"], "judges.identity.name")
            return {}
        with config.supply(IDENTITIES, spec, "judges.identity", landmarks=typical["landmarks"], workers=1) as judge:
            if judge.notice:
                say(judge.notice)
        return {"identity": spec}

    def of_images(self, name: str, images: np.ndarray, of: str = "") -> ImageJudge:
        """A judge of pictures (n, h, w, 3): those of faces.h5, or made `of` codes, whose hash is given."""
        from fgcli.classifiers.judges import image_judge
        from fgcli.training.augment import Augment
        from fgcli.training.columns import COLUMNS

        judge = image_judge(self.params.network, len(self.names), images.shape[1], "judges.network")
        seen = replace(COLUMNS["images"], derive=None if name == "images" else lambda stored, rows: images)
        self.train(judge, seen, {"judge": name} | ({"of": of} if of else {}), Augment(**STRAYED))
        self.calibrate(judge, images)
        return judge

    def of_codes(self, latents: Path, codes: np.ndarray) -> LatentJudge:
        """A judge of codes (n, l, d)."""
        import numpy as np

        from fgcli.classifiers.judges import LatentJudge
        from fgcli.training.augment import Augment
        from fgcli.training.columns import Column, real

        judge = LatentJudge(len(self.names), int(codes[0].size), self.params.hidden)
        judge.standardise(np.array(codes[self.rows("train")]))
        self.train(judge, Column("codes", "latents", "codes", real), {"judge": "codes"}, Augment(), latents)
        self.calibrate(judge, codes)
        return judge

    def train(
        self, judge: Judge, seen: Column, about: dict[str, str], strayed: Augment, latents: Path | None = None
    ) -> None:
        """Trains a judge in a folder of its own, and leaves it on the CPU, in eval mode.

        about: its name, and what else its run depends on beside params and files.
        """
        from fgcli.objectives.judging import Judging
        from fgcli.reports.pictures import save_rows
        from fgcli.training.columns import COLUMNS
        from fgcli.training.run_folder import RunFolder
        from fgcli.training.session import Session
        from fgcli.training.settings import Settings

        labels = replace(COLUMNS["attributes"], derive=lambda stored, rows: stored[:, self.places])
        objective = Judging(judge, seen, labels, self.counts, SWAPPED if latents else 0.0)
        course = {"betas": (0.9, 0.99), "warmup": 20, "schedule": "cosine", "ema_half_life": 30, "keep": "best"}
        settings = Settings.of(self.params.model_dump(), **course)
        files, compute = {"faces": self.faces, "latents": latents}, self.compute
        session = Session.of(
            objective, compute, settings, files, self.split, draw=save_rows, augment=strayed, section="judges"
        )
        same = session.name(self.params.model_dump(exclude={"checkpoint_seconds"}) | about)
        ema, _, _ = session.train(RunFolder(self.folder / about["judge"], same, self.params.steps), self.resume)
        judge.load_state_dict(ema)
        judge.cpu().eval().requires_grad_(False)

    def calibrate(self, judge: Judge, seen: np.ndarray) -> None:
        """By the rows that validate."""
        from scipy.special import logit

        rows = self.rows("val")
        plain = logit(judge.probabilities(seen[rows]).astype("f8").clip(1e-7, 1 - 1e-7))
        judge.calibrate(plain, self.labels[rows], self.counts[1] / self.counts[0])

    def worth(self, judge: Judge, seen: np.ndarray) -> dict[str, dict[str, float]]:
        """Of each attribute, on the test rows."""
        from fgcli.classifiers.judges import worth

        rows = self.rows("test")
        return worth(self.names, judge.probabilities(seen[rows]), self.labels[rows], self.people[rows])

    def consistency(
        self, known: dict[str, Any], first: ImageJudge, second: ImageJudge, images: np.ndarray, remade: np.ndarray
    ) -> dict[str, dict[str, float]]:
        """Mean over attributes of the average precision of judges of photos and of reconstructions, on both.

        Ghosh's thesis, Table 6.2. `known` is what the first is worth on photos; `floor` what a guess has.
        """
        import numpy as np

        def mean(worth: dict[str, Any], name: str = "average_precision") -> float:
            return float(np.mean([about[name] for about in worth.values()]))

        floor = mean(known, "floor")
        return {
            "taught_by_photos": {"on_photos": mean(known), "on_reconstructions": mean(self.worth(first, remade))},
            "taught_by_reconstructions": {
                "on_photos": mean(self.worth(second, images)),
                "on_reconstructions": mean(self.worth(second, remade)),
            },
            "floor": {"on_photos": floor, "on_reconstructions": floor},
        }


def reconstructions(generator: Path, latents: Path, folder: Path) -> np.ndarray:
    """What the generator makes of all codes, uint8 (n, h, w, c), mapped from a nameless file in a folder.

    Raises:
        FgError: codes of another generator.
    """
    import math

    import numpy as np
    import torch

    from fgcli import artifacts, codes
    from fgcli.artifacts.mapped import MappedRows
    from fgcli.classifiers.judges import ROWS
    from fgcli.generators import store
    from fgcli.pixels import u8

    store.verify(latents, generator)
    model, read = store.load(generator), codes.reader(latents)
    channels, *side = model.image_shape
    made = MappedRows(math.prod(model.image_shape), np.uint8, folder)
    with torch.no_grad():
        for i in range(0, len(artifacts.rows(latents, "codes")), ROWS):
            made.append(u8(codes.decode(model, read(slice(i, i + ROWS)))).numpy().reshape(-1, made.width))
    return made.mapped().reshape(-1, *side, channels)
