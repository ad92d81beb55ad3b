"""InvGAN: a GAN whose critic learns to invert the generator while both learn (Ghosh's thesis, chapter 6).

What the thesis leaves open is our choice, by measurement: codes are bounded; reconstructions are no fakes, and codes
are not inferred again, unless asked for; features are compared by L1, mean over entries, summed over the blocks of the
critic; the codes of the previous batch are constants, and a generator's step, which follows the critic's on the same
batch, has those that the critic has just told; weights are 1 unless given (see pipelines/invgan).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgcli.capabilities import Invertible
from fgcli.codes import coded, decode
from fgcli.config.fields import Count, CountOrNone, Seed, Share, Weight
from fgcli.objectives.gan import GAN, Loss, critic_loss, frozen, spread
from fgcli.objectives.gmm_vae import labels_column
from fgcli.training.objective import Batch, Phase, Terms

SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the kernels of the maximum mean discrepancy, in the median of squared distances."""
RUNAWAY = 2.5
"""Standard deviation of inferred codes beyond which a run has come to grief; the prior's is 1."""


class InvGAN(GAN):
    """GAN with inference: w_R = D(x) are codes of photos x.

    The critic also minimises |w - D(G(w))|^2 on fakes (Eq. 6.3), of whose codes a share are w_R of the batch before.
    Generator and critic together minimise, through w_R, the distance of the critic's features of x and G(w_R) (Eq. 6.2)
    and the discrepancy of w and w_R. The naive model (section 6.4.4) has `inferred`, `matching` and `mmd` 0; the
    augmented one `matching` and `mmd` 0. Of the arguments of `gan` it has those below.

    Args:
        generator: whose critic tells codes.
        batch, loss, gamma, penalty_interval, augment, strength, ada_target, ada_images: as for `gan`.
        inferred: share of fakes whose codes are those of the photos of the batch before; 0.5 in the thesis.
        latent: weight of |w - D(G(w))|^2, mean over entries.
        matching: weight of L_fm, L1.
        mmd: weight of the discrepancy.
        reinference: weight of |w_R - D(G(w_R))|^2; 1 in the thesis.
        reconstructions: weight of the logistic loss of G(w_R), both players'; 1 in the thesis.
        supervision: weight of the cross-entropy of classes told from w_R, for rows with a label.
        classes: how many there are; 0: no supervision.
        labels_per_class: training rows of each class whose label is used; 0 for every label.
        seed: of the run; it chooses the labels.
    """

    network: Invertible
    capabilities = (Invertible,)
    judged = True
    before: Tensor
    known: Tensor
    watched_codes: Tensor
    latest: Tensor

    def __init__(
        self,
        generator: Invertible,
        batch: Count = 32,
        loss: Loss = "logistic",
        gamma: Weight | Literal["auto"] = "auto",
        penalty_interval: Count = 16,
        augment: Literal["none", "fixed", "ada"] = "none",
        strength: Share = 0.0,
        ada_target: Share = 0.6,
        ada_images: Count = 500_000,
        inferred: Share = 0.5,
        latent: Weight = 1.0,
        matching: Weight = 1.0,
        mmd: Weight = 1.0,
        reinference: Weight = 0.0,
        reconstructions: Weight = 0.0,
        supervision: Weight = 1.0,
        classes: CountOrNone = 0,
        labels_per_class: CountOrNone = 0,
        seed: Seed = 0,
    ) -> None:
        given = (augment, strength, ada_target, ada_images)
        super().__init__(generator, batch, loss, gamma, penalty_interval, 0.0, 0.0, *given)
        self.inferred, self.reinference, self.reconstructions = inferred, reinference, reconstructions
        self.teaches = {name: weight for name, weight in (("matching", matching), ("mmd", mmd)) if weight}
        self.register_buffer("before", torch.zeros(batch, 1, generator.code_shape[1]))
        self.register_buffer("known", torch.tensor(False))  # whether there was a batch before
        self.register_buffer("watched_codes", torch.ones(()))
        told = {"latent": latent, "reinference": reinference, "reconstructions": reconstructions}
        told = {name: weight for name, weight in told.items() if weight or name == "latent"}
        watched = self.phases[0].weights | {"codes": 0.0}
        self.phases[0] = Phase("critic", "critic", self.critic_loss, watched | told, after=self.settle)
        moved: str | tuple[str, ...] = ("generator", "critic") if self.teaches else "generator"
        made = {"reconstructions": reconstructions} if reconstructions else {}
        weights = self.phases[-1].weights | self.teaches | made
        self.phases[-1] = Phase("generator", moved, self.generator_loss, weights, after=self.settle_spread)
        self.reader = nn.Linear(generator.code_shape[1], classes) if classes and supervision else None
        if self.reader:
            self.needs = ("images", labels_column(classes, labels_per_class, seed))
            self.groups["critic"].parameters.extend(self.reader.parameters())
            self.phases[0].weights["classes"] = supervision

    def opponent(self) -> list[nn.Parameter]:
        """The critic and its head for codes."""
        return [*super().opponent(), *self.network.code_head.parameters()]

    def codes(self, batch: Batch, rng: torch.Generator, labels: Tensor | None) -> Tensor:
        """w (n, 1, d): from the prior, the last of them inferred from the batch before, once there was one."""
        w = super().codes(batch, rng, labels)
        first = self.drawn(len(w))
        return torch.cat([w[:first], self.before[: len(w) - first]])

    def drawn(self, n: int) -> int:
        """How many of n fakes have codes from the prior."""
        return n - round(self.inferred * n * float(self.known))

    def fakes(self, batch: Batch, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor | None]:
        """As of `gan`; those of inferred codes are of no class (-1), as none was drawn for them."""
        w, images, labels = super().fakes(batch, rng)
        if labels is not None:
            labels = torch.where(torch.arange(len(w), device=labels.device) < self.drawn(len(w)), labels, -1)
        return w, images, labels

    def critic_loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """Of scores and of codes."""
        critic, network, x = self.network.critic, self.network, batch["images"]
        with torch.no_grad():
            w, images, labels = self.fakes(batch, rng)
        seen, made = critic.features(self.seen(x, batch, rng))[-1], critic.features(self.seen(images, batch, rng))[-1]
        real, fake = critic.score(seen, batch.get("labels")), critic.score(made, labels)
        inferred = network.codes_of(seen)
        terms = {"gan": critic_loss(self.loss, real, fake), "latent": (network.codes_of(made) - w).square().mean()}
        terms |= self.watch(real, fake) | {"codes": inferred.detach().std()}
        if self.reader:
            logits, y = self.reader(inferred[:, 0]), batch["labels"]
            known = F.cross_entropy(logits, y, ignore_index=-1, reduction="sum") / (y >= 0).sum().clamp_min(1)
            terms["classes"] = known
        if self.reinference or self.reconstructions:
            terms |= self.again(inferred, batch, rng)
        self.latest = inferred.detach()
        return terms

    def generator_loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """Of scores; of what the critic sees in photos and in their reconstructions; of inferred codes and the prior's.

        Into the critic gradients flow through the inferred codes alone.
        """
        x, critic = batch["images"], self.network.critic
        inferred = self.network.encode(x) if self.teaches else x.new_zeros(0)  # before the critic is frozen
        _, images, labels = self.fakes(batch, rng)
        with frozen(critic):
            terms = {"gan": self.fooled(images, labels, batch, rng), "spread": spread(images) / spread(x)}
            if "matching" in self.teaches or self.reconstructions:
                terms |= self.compared(x, self.network.draft(inferred, rng), batch)
        if "mmd" in self.teaches:
            drawn = self.network.map(self.normal(batch, rng), self.labels(batch, rng))
            terms["mmd"] = discrepancy(drawn.flatten(1), inferred.flatten(1))
        return terms

    def compared(self, x: Tensor, again: Tensor, batch: Batch) -> Terms:
        """Photos and their reconstructions as the critic sees them, summed over its blocks (Eq. 6.2)."""
        critic = self.network.critic
        with torch.no_grad():
            goal = critic.features(x)
        made = critic.features(again)
        terms = {}
        if "matching" in self.teaches:
            terms["matching"] = torch.stack([distance(a, b) for a, b in zip(made, goal, strict=True)]).sum()
        if self.reconstructions:
            terms["reconstructions"] = F.softplus(-critic.score(made[-1], batch.get("labels"))).mean()
        return terms

    def again(self, inferred: Tensor, batch: Batch, rng: torch.Generator) -> Terms:
        """Of reconstructions: codes inferred again, and scores as those of other fakes."""
        critic = self.network.critic
        with torch.no_grad():
            images = self.network.draft(inferred, rng)
        found = critic.features(self.seen(images, batch, rng))[-1]
        terms = {}
        if self.reinference:
            terms["reinference"] = (self.network.codes_of(found) - inferred.detach()).square().mean()
        if self.reconstructions:
            terms["reconstructions"] = F.softplus(critic.score(found, batch.get("labels"))).mean()
        return terms

    def settle(self, values: dict[str, float]) -> None:
        """The codes of this batch, for the next; and what watches for trouble."""
        super().settle(values)
        self.before[: len(self.latest)] = self.latest
        self.known.fill_(True)
        self.watched_codes.fill_(values["codes"])

    def trouble(self) -> str:
        """As for `gan`; and codes that run away."""
        if float(self.watched_codes) > RUNAWAY:
            return (
                f"inferred codes deviate by {float(self.watched_codes):.1f}, where the prior's do by 1; lower "
                "train.learning_rate or raise objective.mmd"
            )
        return super().trouble()

    def score(self) -> Reconstruction:  # type: ignore[override]
        """Mean absolute error of reconstructions."""
        return Reconstruction(self.network)


class Reconstruction:
    """Mean absolute error, in [0, 2], of reconstructed validation images."""

    name = "the mean absolute error of reconstructions"

    def __init__(self, generator: Invertible) -> None:
        self.generator, self.total, self.count = generator, 0.0, 0

    def update(self, batch: Batch, rng: torch.Generator) -> None:
        """Sees one batch."""
        x = batch["images"]
        made = decode(self.generator, coded(self.generator, self.generator.encode(x)))
        self.total += float(distance(made, x)) * len(x)
        self.count += len(x)

    def compute(self) -> float:
        """The error."""
        return self.total / self.count


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean |a - b|, in float32."""
    return (a.float() - b.float()).abs().mean()


def discrepancy(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy of rows x (n, d) and y (m, d) (Gretton et al. 2012).

    sum_{i != j} k(x_i, x_j) / (n (n - 1)) + the same of y - 2 sum_{i, j} k(x_i, y_j) / (n m), where k is the mean of
    exp(-|a - b|^2 / s) over s = SCALES times the median of |x_i - y_j|^2, which counts as a constant.

    >>> float(discrepancy(torch.zeros(3, 2), torch.ones(3, 2)).sign())
    1.0
    """
    x, y = x.float(), y.float()
    across, within = gaps(x, y), (gaps(x, x), gaps(y, y))
    median = across.detach().median().clamp_min(1e-12)

    def kernel(squares: Tensor) -> Tensor:
        return torch.stack([torch.exp(-squares / (s * median)) for s in SCALES]).mean(0)

    own = [(kernel(g).sum() - len(g)) / (len(g) * (len(g) - 1)) for g in within]  # k(a, a) = 1
    return own[0] + own[1] - 2 * kernel(across).mean()


def gaps(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances (n, m) of rows."""
    return (x[:, None] - y[None]).square().sum(2)
