"""editor.h5, judges.h5 -> edits.json, edits.html: what editors change, beside what was asked, on held-out faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from fgcli.config import Section
from fgcli.config.fields import Device
from fgcli.console import progress
from fgcli.errors import FgError

if TYPE_CHECKING:
    import numpy as np

    from fgcli.backbones import IdentityJudge
    from fgcli.capabilities import Generator
    from fgcli.classifiers.judges import Judges
    from fgcli.codes import Codes
    from fgcli.editors import Editors
    from fgcli.fitting.refit import Refit
    from fgcli.heads.parameters import Parameters

POINTS = 10
"""Strengths from d to 2 d at which editors are measured (Doubinsky et al., section 4.2)."""
ALL = 0.99
"""Share of codes that counts as all of them."""
HALVINGS = 5
"""Of the interval between two trials in which d is found."""
ALONG = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Strengths at which a direction is shown."""
LOOKED = (0, 4, 9)
"""Of these, where identity is measured, which takes a hundred times as long, and where heads are refitted."""


class Params(Section):
    """How edits are measured."""

    split: Literal["val", "test"]
    """Faces of this split are edited."""
    reach: Annotated[float, Field(gt=0, le=1)]
    """Share of validation faces whose attribute changes at the strength d."""
    trials: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)]
    """Strengths, ascending: d is sought up to the first that reaches so far."""
    both_ways: bool
    """Whether faces that have the attribute lose it; else only the others gain it."""
    compared: Annotated[int, Field(ge=2)]
    """Faces whose identity is compared at most."""
    batch: Annotated[int, Field(ge=1)]
    """Pictures in memory at once."""
    device: Device


def run(
    generator: Path = Path("out/generator.h5"),
    latents: Path = Path("out/latents.h5"),
    editor: Path = Path("out/editor.h5"),
    judges: Path = Path("out/judges.h5"),
    faces: Path = Path("out/faces.h5"),
    output: Path = Path("out/edits.json"),
    page: Path = Path("out/edits.html"),
    *,
    regressor: Path | None = None,
    params: Params,
) -> dict[str, Any]:
    """Measures every editor on every attribute that it learned and somebody judges, and shows its other directions.

    Per editor and attribute, at POINTS strengths from d to 2 d, with an interval over people: how many faces change
    their attribute by the judge of pictures, how many of the other attributes stay, how alike the faces remain; the
    latter two also at equal change, where as many of these very faces change as d was chosen for; and of the faces
    whose code changes its attribute by the judge of codes, how many pictures do. Of a direction that no judge knows by
    name: how far strength 1 moves each attribute, and one face along it.

    Args:
        regressor: of heads; then parameters are inferred of all pictures, edited or not, and attributes are read off
            them, too. Who a head is, its shape tells, and dlib is not asked.

    Raises:
        FgError: files that do not belong together, or fewer than two held-out faces.
    """
    import numpy as np

    from fgcli import artifacts
    from fgcli.certificate import identity_judge
    from fgcli.classifiers import judges as judging
    from fgcli.codes import reader
    from fgcli.editors import load
    from fgcli.generators import store
    from fgcli.reports import edits
    from fgcli.training.devices import cpu_or_cuda

    for file in (latents, editor):
        store.verify(file, generator)
    known = judging.load(judges)
    if known.generator not in (None, artifacts.sha256(generator)):
        raise FgError(f"{judges}: expected judges of codes of {generator}, found others; run fg judges again")
    model, editors, read = store.load(generator, cpu_or_cuda(params.device)), load(editor), reader(latents)
    refit, people = refitting(regressor, faces), artifacts.people(faces)
    about = artifacts.load(latents, artifacts.LATENTS, ("split", "attributes"))
    split = artifacts.SPLITS.index(params.split)
    pairs = [(a, label) for label, m in editors.methods.items() for a in m.arrays()]
    benches = [Bench(model, editors, label, a, known, params) for a, label in pairs]
    numbers: dict[str, dict[str, Any]] = {}
    tasks = sorted((b for b in benches if b.judged), key=lambda b: known.names.index(b.attribute))
    alike = None if refit else identity_judge(judges)  # shape tells who a head is
    with alike or nullcontext() as embedder, progress("edits", len(tasks), unit="edits") as advance:
        for bench in tasks:
            labels = about["attributes"][:, about.meta["attribute_names"].index(bench.attribute)]
            val, rows = (editable(about["split"] == part, labels, params.both_ways) for part in (1, split))
            if len(rows) < 2:
                found = f"expected two held-out faces to edit {bench.attribute} of, found fewer"
                raise FgError(f"{latents}: {found}; add photos")
            measured = bench.measure(read, val, rows, people, embedder)
            if refit:
                measured["refitted"] = bench.refitted(refit, read(rows), measured["curve"]["strength"], people[rows])
            numbers.setdefault(bench.attribute, {})[bench.label] = measured
            advance(note=f"{bench.label} {bench.attribute}")
    worth = {name: known.held_out.get("images", {}).get(name) for name in numbers}
    results: dict[str, Any] = {"edits": numbers, "judges": {name: value for name, value in worth.items() if value}}
    if embedder:
        results["identity_by"] = embedder.title
    held_out = np.flatnonzero(about["split"] == split)
    results["directions"], strips = discovered([b for b in benches if not b.judged], read, held_out, people)
    if refit:
        results["refit"] = trusted(refit, model, faces, read, held_out, people, params)
    artifacts.write_json(output, results)
    edits.write(page, results, strips)
    return {"output": str(output), "page": str(page), "edits": {a: list(found) for a, found in numbers.items()}}


def discovered(
    benches: list[Bench], read: Callable[[Any], Codes], rows: np.ndarray, people: np.ndarray
) -> tuple[dict[str, dict[str, Any]], dict[tuple[str, str], list[np.ndarray]]]:
    """How far directions that no judge knows by name move each attribute on held-out rows; a face along each."""
    moves: dict[str, dict[str, Any]] = {}
    for bench in benches:
        moves.setdefault(bench.label, {})[bench.attribute] = bench.moves(read(rows), people[rows])
    return moves, {(b.label, b.attribute): b.along(read(rows[:1])) for b in benches}


def refitting(regressor: Path | None, faces: Path) -> Refit | None:
    """What infers parameters of heads; none unless a regressor is given.

    Raises:
        FgError: pictures that are no faces, or a regressor of a head that is not here.
    """
    from fgcli import artifacts
    from fgcli.fitting.refit import Refit

    if regressor is None:
        return None
    stored = artifacts.load(faces, artifacts.FACES, ())
    if stored.meta["content"] != "faces":
        raise FgError(f"{faces}: expected faces to refit by {regressor}, found pictures taken whole; give no regressor")
    return Refit(regressor, stored.params.get("framing", 1.0))


def trusted(
    refit: Refit,
    model: Generator,
    faces: Path,
    read: Callable[[Any], Codes],
    rows: np.ndarray,
    people: np.ndarray,
    params: Params,
) -> dict[str, Any]:
    """What refits of unedited faces are worth against the truth, and how far shapes lie apart.

    Args:
        read: rows to codes. rows: of held-out faces. people: (n) of all rows.

    Returns:
        held_out: of `images` and of their `reconstructions`, see `worth`. shape: `one_person`, the distance of two
        pictures of one, and `two_people`, % of the head's height.
    """
    import numpy as np

    from fgcli import artifacts
    from fgcli.classifiers.judges import worth
    from fgcli.intervals import stated

    stored = artifacts.load(faces, artifacts.FACES, ("attributes",))
    names = [name for name in refit.names if name in stored.meta["attribute_names"]]
    labels = stored["attributes"][rows][:, [stored.meta["attribute_names"].index(name) for name in names]]
    parts, images = np.split(rows, range(params.batch, len(rows), params.batch)), artifacts.rows(faces, "images")
    seen = {
        "images": refit.parameters(images[part] for part in parts),
        "reconstructions": refit.parameters(pictures(model, read(part)) for part in parts),
    }
    places = [refit.names.index(name) for name in names]
    held_out = {kind: worth(names, refit.degrees(p)[:, places], labels, people[rows]) for kind, p in seen.items()}
    order = np.argsort(people[rows], kind="stable")
    one, other = order[:-1], order[1:]
    far, same = (
        refit.apart(seen["images"].rows(one), seen["images"].rows(other)),
        people[rows][one] == people[rows][other],
    )
    kinds = {"one_person": same, "two_people": ~same}
    shape = {kind: stated(far[of], people[rows][one][of]) for kind, of in kinds.items() if of.any()}
    return {"held_out": held_out, "shape": shape}


def editable(chosen: np.ndarray, labels: np.ndarray, both_ways: bool) -> np.ndarray:
    """Rows of a split whose label is known, or those alone that have not the attribute."""
    import numpy as np

    return np.flatnonzero(chosen & ((labels >= 0) if both_ways else (labels == 0)))


@dataclass(frozen=True)
class Bench:
    """One editor and one attribute."""

    model: Generator
    editors: Editors
    label: str
    attribute: str
    judges: Judges
    params: Params

    @property
    def judged(self) -> bool:
        """Whether a judge knows the attribute by name."""
        return self.attribute in self.judges.names

    def measure(
        self, read: Any, val: np.ndarray, rows: np.ndarray, people: np.ndarray, embedder: IdentityJudge | None
    ) -> dict[str, Any]:
        """The numbers of held-out `rows`, d chosen by the rows `val`; where there are none, by themselves."""
        import numpy as np

        from fgcli.intervals import stated

        chosen = val if len(val) > 1 else rows
        d, reached = self.strength(read(chosen))
        codes = read(rows)
        even, _ = self.strength(codes)  # where as many of these very faces change as of any other editor's
        strengths = [*np.linspace(d, 2 * d, POINTS).tolist(), even]
        before = self.seen(codes)
        place = self.judges.names.index(self.attribute)
        signs = self.signs(before[:, place])
        others = [k for k in range(before.shape[1]) if k != place]
        changed, kept, alike = [], [], []
        some = np.arange(0, len(rows), -(-len(rows) // self.params.compared))
        first = self.embedded(codes[some], embedder)
        for i, s in enumerate(strengths):
            edited = self.edited(codes, s, signs)
            after = self.seen(edited)
            changed.append((after[:, place] > 0.5) != (before[:, place] > 0.5))
            stays = (after[:, others] > 0.5) == (before[:, others] > 0.5)
            kept.append(stays.mean(1) if others else np.ones(len(rows)))
            if embedder and i in (*LOOKED, POINTS):
                alike.append((first * self.embedded(edited[some], embedder)).sum(1))
        equal: dict[str, Any] = {"strength": even, "target_change": float(changed.pop().mean())}
        equal["attributes_kept"] = stated(kept.pop(), people[rows])
        if alike:
            equal["identity"] = stated(alike.pop(), people[rows][some])
        values = {"target_change": np.mean(changed, 0), "attributes_kept": np.mean(kept, 0)}
        found = {name: stated(each, people[rows]) for name, each in values.items()}
        if alike:
            found["identity"] = stated(np.mean(alike, 0), people[rows][some])
        curve = {"strength": strengths[:POINTS], "target_change": [float(c.mean()) for c in changed]}
        curve |= {"attributes_kept": [float(k.mean()) for k in kept], "identity": [float(a.mean()) for a in alike]}
        curve["looked"] = list(LOOKED[: len(alike)])
        told: dict[str, Any] = {"d": d, "reached": reached, "faces": len(rows), **found, "equal": equal, "curve": curve}
        told["chosen_on"] = "val" if chosen is val else "these faces"
        return told | (self.fooled(codes, before, signs, people[rows]) if self.judges.codes else {})

    def strength(self, codes: Codes) -> tuple[float, float]:
        """d, the weakest strength that changes as many of these faces as asked, and the share that it changes."""
        place = self.judges.names.index(self.attribute)
        before = self.seen(codes)[:, place]

        def changed(strength: float) -> float:
            after = self.seen(self.edited(codes, strength, self.signs(before)))[:, place]
            return float(((after > 0.5) != (before > 0.5)).mean())

        too_weak = 0.0
        for d in self.params.trials:
            if (share := changed(d)) >= self.params.reach:
                break
            too_weak = d
        for _ in range(HALVINGS if share >= self.params.reach else 0):
            middle = (too_weak + d) / 2
            if (found := changed(middle)) >= self.params.reach:
                d, share = middle, found
            else:
                too_weak = middle
        return d, share

    def fooled(self, codes: Codes, before: np.ndarray, signs: np.ndarray, people: np.ndarray) -> dict[str, Any]:
        """At the weakest trial that changes ALL codes by their judge, or most: how many, and of these pictures.

        Table 2 of Doubinsky et al.
        """
        from fgcli.intervals import stated

        assert self.judges.codes
        place = self.judges.names.index(self.attribute)
        had = self.judges.codes.probabilities(codes.numpy())[:, place] > 0.5
        best = -1.0
        for strength in self.params.trials:
            edited = self.edited(codes, strength, signs)
            now = self.judges.codes.probabilities(edited.numpy())[:, place] > 0.5
            share = float((now != had).mean())
            if share > best:
                best, changed, kept, at = share, now != had, edited, strength
            if share >= ALL:
                break
        about: dict[str, Any] = {"codes_changed": best, "codes_changed_at": at}
        if not changed.any():
            return about
        rows = changed.nonzero()[0]
        seen = self.seen(kept[rows])[:, place] > 0.5
        return about | {"really_changed": stated((seen != (before[rows, place] > 0.5)).astype(float), people[rows])}

    def refitted(
        self, refit: Refit, codes: Codes, strengths: Sequence[float], people: np.ndarray
    ) -> dict[str, dict[str, float]]:
        """What edits change by parameters that are inferred of their pictures, mean over the strengths LOOKED.

        target_change, attributes_kept: as by the judge of pictures, but a change counts only the way it was asked for.
        moved: how much further the attribute is; 1 leads from clearly without it to clearly with it.
        shape_moved: of the faces' vertices by shape alone, % of the head's height.
        """
        import numpy as np

        from fgcli.intervals import stated

        signs = self.signs(self.seen(codes)[:, self.judges.names.index(self.attribute)])
        first = self.parameters(refit, codes)
        before, own = refit.degrees(first), np.array([name == self.attribute for name in refit.names])
        values: dict[str, list[np.ndarray]] = {}
        for i in LOOKED:
            p = self.parameters(refit, self.edited(codes, strengths[i], signs))
            after = refit.degrees(p)
            stays = (after > 0.5) == (before > 0.5)
            found = {"attributes_kept": stays[:, ~own].mean(1), "shape_moved": refit.apart(first, p)}
            if own.any():
                asked = (after[:, own][:, 0] > 0.5) == (signs > 0)
                found["target_change"] = (~stays[:, own][:, 0] & asked).astype(float)
                found["moved"] = signs * (after - before)[:, own][:, 0]
            for name, each in found.items():
                values.setdefault(name, []).append(each)
        return {name: stated(np.mean(each, 0), people) for name, each in values.items()}

    def parameters(self, refit: Refit, codes: Codes) -> Parameters:
        """Inferred of what is decoded."""
        return refit.parameters(self.pictures(part) for part in codes.split(self.params.batch))

    def moves(self, codes: Codes, people: np.ndarray) -> dict[str, dict[str, float]]:
        """How far strength 1 moves the judge's probability of each attribute."""
        from fgcli.intervals import stated

        edited = self.editors.edit(self.label, codes, self.attribute, 1.0)
        change = self.seen(edited) - self.seen(codes)
        return {name: stated(change[:, k], people) for k, name in enumerate(self.judges.names)}

    def along(self, code: Codes) -> list[np.ndarray]:
        """One face (1, l, d) at the strengths ALONG."""
        return [self.pictures(self.editors.edit(self.label, code, self.attribute, s))[0] for s in ALONG]

    def signs(self, before: np.ndarray) -> np.ndarray:
        """(n) towards the other side of the attribute."""
        import numpy as np

        return np.where((before > 0.5) & self.params.both_ways, -1.0, 1.0)

    def edited(self, codes: Codes, strength: float, signs: np.ndarray) -> Codes:
        """The codes, each edited by the strength times its sign (n)."""
        import numpy as np

        values = codes.values.clone()
        for sign in np.unique(signs).tolist():
            rows = np.flatnonzero(signs == sign)
            values[rows] = self.editors.edit(self.label, codes[rows], self.attribute, sign * strength).values
        return codes.moved(values)

    def seen(self, codes: Codes) -> np.ndarray:
        """Probabilities (n, k) that the judge of pictures gives to what is decoded."""
        import numpy as np

        parts = codes.split(self.params.batch)
        return np.concatenate([self.judges.images.probabilities(self.pictures(part)) for part in parts])

    def pictures(self, codes: Codes) -> np.ndarray:
        """uint8 (n, h, w, 3)."""
        return pictures(self.model, codes)

    def embedded(self, codes: Codes, embedder: IdentityJudge | None) -> np.ndarray:
        """Unit embeddings (n, d); none without an embedder."""
        import numpy as np

        if embedder is None:
            return np.zeros((len(codes), 0))
        found = embedder(self.pictures(codes)).astype(np.float64)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def pictures(model: Generator, codes: Codes) -> np.ndarray:
    """uint8 (n, h, w, 3) of codes."""
    import numpy as np

    from fgcli.reports.pictures import decoded

    return np.stack(decoded(model, codes))
