"""generator.h5, conditions.h5, regressor.h5 -> obedience.json, obedience.png: how far a generator obeys its heads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fgcli.config import Section
from fgcli.config.fields import Seed, Threads
from fgcli.console import progress
from fgcli.errors import FgError

if TYPE_CHECKING:
    from torch import Tensor

    from fgcli.capabilities import Conditional
    from fgcli.fitting.extract import Regress
    from fgcli.heads.head import Head
    from fgcli.heads.parameters import Parameters

STYLES, HEADS = 10, 100
"""Styles and heads of Figure 5.9a of Ghosh's thesis."""
VIEWS, TEXELS = 4, 48
"""Poses in which one skin is compared, and the side of its texture."""
PART = 50
"""Pictures at a time."""
STEPS = (-2.0, -1.0, 0.0, 1.0, 2.0)
"""Of the sheet: standard deviations of modes; yaw and jaw go as far as the random protocol at most."""


class Params(Section):
    """Params of `fg obedience`."""

    pictures: Annotated[int, Field(ge=20)]
    """Pictures of each factor, and pairs."""
    threads: Threads
    seed: Seed
    """Seed of heads and styles."""


def run(
    generator: Path = Path("out/generator.h5"),
    conditions: Path = Path("out/conditions.h5"),
    regressor: Path = Path("out/regressor.h5"),
    output: Path = Path("out/obedience.json"),
    sheet: Path = Path("out/obedience.png"),
    *,
    against: Path | None = None,
    params: Params,
) -> dict[str, Any]:
    """Infers the heads of generated pictures, and measures how far they are from those that were told.

    Beside the generator's errors stand those of the renders themselves, the floor that the regressor allows, and of the
    mean head, which knows nothing. With another generator in `against`: of pictures from equal heads, how often this
    one's is inferred nearer.

    Raises:
        FgError: files that do not belong together, or no row that trained.
    """
    import torch

    from fgcli import artifacts
    from fgcli.heads.obedience import FACTORS

    if params.threads:
        torch.set_num_threads(params.threads)
    bench = Bench.of(generator, conditions, regressor, params)
    with torch.no_grad(), progress("obedience", 7 if against else 6) as advance:
        found: dict[str, Any] = {"factors": {}}
        for i, factor in enumerate(FACTORS):
            found["factors"][factor] = bench.factor(factor, params.seed + i)
            advance(note=factor)
        found |= {"style_share": bench.style_share(), "skin": bench.skin()}
        advance(2)
        found["likeness"] = bench.likeness()
        if against:
            found["preferred"] = bench.preferred(Bench.of(against, conditions, regressor, params))
            advance(note="pairs")
        bench.draw(sheet)
    artifacts.write_json(output, {"made_of": artifacts.sha256(generator), **found})
    return {"output": str(output), "sheet": str(sheet), **told(found)}


def told(found: dict[str, Any]) -> dict[str, Any]:
    """The numbers, in brief."""
    brief = {
        name: {who: round(about["value"], 2) for who, about in numbers.items()}
        for name, numbers in found["factors"].items()
    }
    return {"mm": brief, **{key: value for key, value in found.items() if key != "factors"}}


@dataclass(frozen=True)
class Bench:
    """A generator, its head, and who infers heads of its pictures.

    Attributes:
        lights: (m, 9, 3) of training rows.
        framing: of the crops.
    """

    model: Conditional
    head: Head
    regress: Regress
    lights: Tensor
    framing: float
    params: Params

    @classmethod
    def of(cls, generator: Path, conditions: Path, regressor: Path, params: Params) -> Bench:
        """From files that belong together."""
        import numpy as np
        import torch

        from fgcli import artifacts
        from fgcli.fitting.extract import Regress, same_head
        from fgcli.generators import store
        from fgcli.heads.parameters import Parameters
        from fgcli.steered import steerable

        model = steerable(generator, "fg obedience")
        stored = artifacts.load(conditions, artifacts.CONDITIONS, ("parameters", "status"))
        store.verify_head(conditions, generator)
        rows = np.flatnonzero(stored["status"] == "ok")
        if not len(rows):
            raise FgError(f"{conditions}: expected rows whose status is ok, found none; make it again")
        head = same_head(stored.meta["head"], conditions)
        framing = artifacts.load(generator, artifacts.GENERATOR, ()).meta["training"]["preprocess"]["framing"]
        lights = Parameters.from_vector(torch.from_numpy(stored["parameters"][rows]), "gif").light
        return cls(model, head, Regress(head, regressor, framing), lights, framing, params)

    # ---- heads and pictures

    def random(self, n: int, seed: int) -> Parameters:
        """n heads of the random protocol."""
        import torch

        from fgcli.heads.steering import DRAWN, MODES, random_heads

        rng = torch.Generator().manual_seed(seed)
        drawn = torch.cat([torch.randn(n, MODES, generator=rng), torch.rand(n, DRAWN - MODES, generator=rng)], 1)
        return random_heads(self.head, drawn, self.lights, self.framing)

    def alone(self, factor: str, n: int, seed: int) -> Parameters:
        """n heads of which one factor is drawn: the mean texture, under the mean light."""
        import torch

        from fgcli.heads.centring import centred
        from fgcli.heads.obedience import only

        p = only(self.random(n, seed), factor)
        p = p.replace(texture=torch.zeros_like(p.texture), light=self.lights.mean(0).expand(n, -1, -1))
        return p.replace(camera=centred(self.head, p.shape, p.expression, p.pose, self.framing))

    def images(self, p: Parameters, codes: Tensor) -> Tensor:
        """(n, 3, h, w) in [-1, 1] of heads and codes (n, l, d)."""
        import torch

        from fgcli.codes import coded, decode
        from fgcli.heads.steering import condition_of

        parts = torch.arange(len(p)).split(PART)
        return torch.cat(
            [
                decode(self.model, coded(self.model, codes[i], condition_of(self.model, self.head, p.rows(i))))
                for i in parts
            ]
        )

    def renders(self, p: Parameters) -> Tensor:
        """The heads themselves (n, 3, h, w) in [-1, 1], on black."""
        import torch

        from fgcli.heads.conditions import condition_images
        from fgcli.pixels import pixels

        size, parts = self.model.image_shape[-1], torch.arange(len(p)).split(PART)
        return torch.cat([pixels(condition_images(self.head, p.rows(i), size)[..., :3]) for i in parts])

    def styles(self, n: int, seed: int) -> Tensor:
        """n codes from the prior."""
        from fgcli import codes

        return codes.prior(self.model, n, seed).values

    def inferred(self, images: Tensor) -> Parameters:
        """The heads of pictures."""
        import torch

        return self.regress.guess((images + 1) / 2, torch.zeros(0))

    @cached_property
    def pairs(self) -> tuple[Parameters, Tensor, Tensor]:
        """Heads of the random protocol, pictures of them, and how far these are from all that they were told, mm."""
        from fgcli.heads.obedience import apart

        p = self.random(self.params.pictures, self.params.seed + 100)
        images = self.images(p, self.styles(len(p), self.params.seed))
        return p, images, apart(self.head, p, self.inferred(images))

    # ---- numbers

    def factor(self, factor: str, seed: int) -> dict[str, Any]:
        """Errors of one factor, mm: of the generator, of the renders themselves, of the mean head."""
        from fgcli.heads.obedience import factor_error
        from fgcli.heads.parameters import Parameters

        p = self.alone(factor, self.params.pictures, seed)
        seen = {
            "generator": self.inferred(self.images(p, self.styles(len(p), self.params.seed))),
            "renders": self.inferred(self.renders(p)),
            "mean_head": Parameters.zeros(len(p)),
        }
        return {who: root(factor_error(self.head, factor, p, guess)) for who, guess in seen.items()}

    def style_share(self) -> dict[str, float]:
        """Share of the variance of the errors that lies between styles; and what chance would give."""
        import torch

        from fgcli.heads.obedience import apart, share_between

        p, codes = self.random(HEADS, self.params.seed + 200), self.styles(STYLES, self.params.seed + 200)
        errors = [apart(self.head, p, self.inferred(self.images(p, code.expand(HEADS, -1, -1)))) for code in codes]
        return {"value": share_between(torch.stack(errors)), "chance": (STYLES - 1) / (STYLES * HEADS - 1)}

    def skin(self) -> dict[str, Any]:
        """Root mean squared difference, 0..255, of one person's skin in VIEWS poses and expressions, without light.

        Of the generator's pictures, and of the renders themselves.
        """
        import torch

        from fgcli.heads.centring import centred
        from fgcli.heads.consistency import differences, face_texels, views

        table = face_texels(self.head, TEXELS)
        squares: dict[str, list[Tensor]] = {"generator": [], "renders": []}
        sets = max(20, self.params.pictures // VIEWS // 2)
        codes = self.styles(sets, self.params.seed + 300)
        for i in range(sets):
            p = self.random(VIEWS, self.params.seed + 300 + i)
            p = p.replace(
                shape=p.shape[:1].expand(VIEWS, -1),
                texture=p.texture[:1].expand(VIEWS, -1),
                light=p.light[:1].expand(VIEWS, -1, -1),
            )
            p = p.replace(camera=centred(self.head, p.shape, p.expression, p.pose, self.framing))
            shown = views(self.head, table, p, self.model.image_shape[-1])
            made = {"generator": self.images(p, codes[[i]].expand(VIEWS, -1, -1)), "renders": shown.condition[:, :3]}
            for who, images in made.items():
                square, seen = differences(shown, images)
                squares[who].append((square * seen).sum() / seen.sum().clamp_min(1) * 255**2)
        return {who: root(torch.stack(each).sqrt()) for who, each in squares.items()}

    def likeness(self) -> dict[str, Any]:
        """Mean absolute difference, 0..2, of pictures to the renders of their heads, on the head.

        It needs no regressor, and it is what a generator that sees these renders may copy.
        """
        p, images, _ = self.pairs
        renders = self.renders(p)
        on = (renders > -1).any(1, keepdim=True)
        apart = ((images - renders).abs() * on).sum((1, 2, 3)) / (3 * on.sum((1, 2, 3))).clamp_min(1)
        mean = ((images.mean(0) - renders).abs() * on).sum((1, 2, 3)) / (3 * on.sum((1, 2, 3))).clamp_min(1)
        return {"generator": stated(apart), "mean_picture": stated(mean)}

    def preferred(self, other: Bench) -> dict[str, float]:
        """Share of pairs from equal heads of which this one's picture is inferred nearer: a stand-in for Table 5.1a."""
        return stated((self.pairs[2] < other.pairs[2]).float())

    # ---- pictures

    def draw(self, path: Path) -> None:
        """One factor in each pair of rows, told above and made below, all of one style (Figure 5.1)."""
        from fgcli.heads.centring import centred
        from fgcli.heads.parameters import Parameters
        from fgcli.heads.steering import JAW, YAW, Factor
        from fgcli.reports.grid import save_picture
        from fgcli.reports.grid import sheet as page
        from fgcli.reports.pictures import enlarge, pictures

        names = {
            "yaw": (Factor("yaw"), [s / 2 * YAW for s in STEPS]),
            "jaw": (Factor("jaw"), [(s + 2) / 4 * JAW for s in STEPS]),
            **{f"{n} {k}": (Factor(n, k), list(STEPS)) for n in ("expression", "shape", "texture") for k in (0, 1)},
        }
        code, rows = self.styles(1, self.params.seed), {}
        for name, (factor, values) in names.items():
            base = self.alone("shape", 1, 0)
            base = base.replace(shape=0 * base.shape)
            p = Parameters.joined([factor.set(base, value) for value in values])
            p = p.replace(camera=centred(self.head, p.shape, p.expression, p.pose, self.framing))
            rows[name] = pictures(self.renders(p))
            rows[f"{name}: made"] = pictures(self.images(p, code.expand(len(p), -1, -1)))
        save_picture(path, page(list(rows.values()), list(rows), scale=enlarge(self.model)))


def stated(values: Tensor) -> dict[str, float]:
    """The mean of values (n) of independent draws, and its interval."""
    import numpy as np

    from fgcli import intervals

    return intervals.stated(values.double().numpy(), np.arange(len(values)))


def root(values: Tensor) -> dict[str, float]:
    """The root of the mean of squares of values (n), and its interval."""
    return {name: value**0.5 for name, value in stated(values.square()).items()}
