"""What a generator is, and what more one can do.

A capability is a class that a generator inherits, and it is asked for by `isinstance` or `require`: nobody guesses it
from the names of methods. `can` says it in a sentence, `such_as` names an entry of GENERATORS that has it.

Images are float in [-1, 1], (n, c, h, w); codes are (n, l, d): l code layers of size d.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from itertools import chain
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from fgcli.errors import UsageError
from fgcli.grammars import Grammar
from fgcli.grammars.languages import Language

MEAN_OF = 4096
"""Draws whose mean is a mapping's mean code."""
BOUND = 4.0
"""Largest entry of a code that a critic tells, in units of a mapped code's deviation."""

Space = Literal["z", "w", "w+"]
"""z: the prior's own, as N(0, I); w: what a mapping makes of z; w+: one w for every layer of the network."""


class Generator(nn.Module, ABC):
    """A network that maps codes to images. It knows no loss.

    Attributes:
        code_shape: (l, d).
        image_shape: (c, h, w).
        space: of the codes that `decode` takes and `prior` gives.
    """

    can: ClassVar[str] = ""
    such_as: ClassVar[str] = ""
    space: Space = "z"
    code_shape: tuple[int, int]
    image_shape: tuple[int, int, int]

    @abstractmethod
    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images of codes (n, l, d); see `fgcli.codes.decode`, which also checks and broadcasts."""

    def prior(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """n codes on the generator's device, drawn to the prior's mean by `truncation` < 1: here from N(0, I).

        (n, l, d); (n, 1, d) where one row serves all layers.
        """
        return truncation * self.normal(n, self.code_shape, rng)

    def normal(self, n: int, shape: tuple[int, ...], rng: torch.Generator) -> Tensor:
        """(n, *shape) from N(0, I), drawn where `rng` is, on the generator's device."""
        return torch.randn(n, *shape, generator=rng, device=rng.device).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(chain(self.parameters(), self.buffers())).device


class Encodes(Generator):
    """Maps images to codes."""

    can = "has an encoder"
    such_as = "conv_autoencoder"

    @abstractmethod
    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, l, d) of images; (n, 1, d) where one row serves all layers."""


class Posterior(Encodes):
    """Maps images to a Gaussian over codes; its mean is the code."""

    can = "has a posterior"
    such_as = "conv_vae"

    @abstractmethod
    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (n, d) of q(z | x)."""

    def encode(self, images: Tensor) -> Tensor:
        """Mean codes (n, 1, d)."""
        return self.posterior(images)[0][:, None]


class Halves(Encodes):
    """Its modules `encoder` and `decoder` hold all its weights, each its own."""

    can = "is an encoder and a decoder and nothing else"
    such_as = "conv_autoencoder"
    encoder: nn.Module
    decoder: nn.Module


class Masks(Generator):
    """Predicts the face mask of a code."""

    can = "predicts masks"
    such_as = "masked_vae"

    @abstractmethod
    def mask_logits(self, codes: Tensor) -> Tensor:
        """Logits (n, 1, h, w) of the face mask."""

    def decode_mask(self, codes: Tensor) -> Tensor:
        """Face masks (n, 1, h, w) in [0, 1]."""
        return torch.sigmoid(self.mask_logits(codes))


class Writes(Encodes):
    """Its pictures are sentences (k, 1, t): planes that are 1 where one of k - 1 rules, or at last none, is taken.

    Each of t steps takes a rule of a derivation in `grammar`; the last plane stands for what follows its end.

    Attributes:
        grammar: of its sentences.
        language: what they mean.
        allowed: bool (k, k), which rules may stand where one of the first axis stands: those of the same symbol.
    """

    can = "writes sentences"
    such_as = "grammar_autoencoder"
    grammar: Grammar
    language: Language
    allowed: Tensor

    @abstractmethod
    def logits(self, codes: Tensor, sentences: Tensor) -> Tensor:
        """Of each rule at each step (n, k, 1, t), not masked; a step may know what `sentences` have before it."""

    def write(self, planes: Tensor) -> list[str | None]:
        """Texts of planes (n, k, 1, t); None of derivations that do not finish."""
        end = len(self.grammar.rules)
        rows = planes.argmax(1).flatten(1).cpu().numpy()
        return [
            self.grammar.write(row[: np.flatnonzero(row != end)[-1] + 1] if (row != end).any() else []) for row in rows
        ]


class Classifies(Posterior):
    """Its codes are a mixture with a component N(mu_c, variance I) per class c.

    Attributes:
        means: mu (classes, d).
        variance: of every component.
        variable_entropy: whether the posterior's width depends on the image.
    """

    can = "classifies"
    such_as = "gmm_vae"
    means: Tensor
    variance: float
    variable_entropy: bool

    def distances(self, codes: Tensor) -> Tensor:
        """Squared Mahalanobis distance |z - mu_c|^2 / variance of codes (n, 1, d) to every component, (n, classes)."""
        return (codes.flatten(1)[:, None] - self.means).square().sum(2) / self.variance

    def classify(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Bayes' class (n) of codes (n, 1, d), and the squared Mahalanobis distance (n) to its component.

        Components are equally likely and of equal covariance, so the likeliest is the nearest (Ghosh's thesis, Eq. 4.7,
        with the encoder's distribution at its mean).
        """
        distance, label = self.distances(codes).min(1)
        return label, distance


class Conditional(Generator):
    """`decode` wants a condition for every code, such as the picture of a head.

    Attributes:
        condition_shape: of one condition.
        condition_column: the batch's column that has it.
    """

    can = "is steered by a condition"
    such_as = "gif"
    condition_shape: tuple[int, ...]
    condition_column: str = "condition"

    def meet(self, conditions: Tensor) -> None:
        """Sees the conditions (n, ...) of training rows before the first step."""


class Mapped(Generator):
    """A mapping makes the codes that `decode` takes (w) of the prior's own (z).

    Attributes:
        mapped_size: of z.
    """

    can = "maps z to w"
    mapped_size: int

    @abstractmethod
    def map(self, z: Tensor) -> Tensor:
        """Codes w (n, 1, d) of z (n, mapped_size)."""


class Entered(Generator):
    """Its codes enter by affine maps whose weights are known."""

    can = "tells how codes enter it"
    such_as = "stylegan2"

    @abstractmethod
    def entrance(self) -> list[Tensor]:
        """Weights (o, d) of all affine maps that codes first meet."""


class Critic(nn.Module, ABC):
    """A GAN's discriminator, designed against one generator: it scores images, real ones high.

    Attributes:
        size: of the last features.
        group: images that it compares with each other; a batch is a multiple of it.
        smooth: whether its weights are held, so that it does without a gradient penalty.
    """

    size: int
    group: int = 1
    smooth: bool = False

    @abstractmethod
    def features(self, images: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """What each block makes of images, (n, channels, h, w); last, (n, size), what heads are put on.

        The critic of a Conditional generator sees each image with its condition.
        """

    def seen(self, images: Tensor, condition: Tensor | None = None) -> list[Tensor]:
        """The features but for the last, for which images may be compared: of each image whatever is beside it."""
        missing = -len(images) % self.group

        def padded(x: Tensor) -> Tensor:
            return torch.cat([x, x[:1].expand(missing, *x.shape[1:])])

        features = self.features(padded(images), None if condition is None else padded(condition))
        return [found[: len(images)] for found in features[:-1]]

    @abstractmethod
    def score(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (n) of being real, of the last features (n, size) and, if it knows classes, labels (n)."""

    def forward(self, images: Tensor, labels: Tensor | None = None, condition: Tensor | None = None) -> Tensor:
        """Logits (n) of images (n, c, h, w)."""
        return self.score(self.features(images, condition)[-1], labels)


class Contested(Mapped):
    """A GAN's generator, which keeps its opponent beside it.

    Attributes:
        critic: the discriminator.
        classes: how many classes `map` and the critic are told; 0: none.
    """

    can = "has a critic"
    such_as = "dcgan"
    critic: Critic
    classes: int = 0

    def oppose(self, critic: Critic) -> None:
        """Keeps the critic, once all else is built."""
        self.critic = critic

    def labels(self, n: int, rng: torch.Generator) -> Tensor | None:
        """n classes at random, on the generator's device; None if it knows none."""
        if not self.classes:
            return None
        return torch.randint(self.classes, (n,), generator=rng, device=rng.device).to(self.device)

    @abstractmethod
    def map(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes w (n, 1, d) of z (n, mapped_size) and, if it knows classes, labels (n)."""

    def prior(self, n: int, rng: torch.Generator, truncation: float = 1.0) -> Tensor:
        """w of n draws z ~ N(0, I), in eval mode; below 1 `truncation` draws them to the mean code."""
        w = self.map(self.normal(n, (self.mapped_size,), rng), self.labels(n, rng))
        if truncation == 1:
            return w
        mean = self.mean_code()
        return mean + truncation * (w - mean)

    def mean_code(self) -> Tensor:
        """(1, d): the mean of MEAN_OF draws, always the same ones."""
        fixed = torch.Generator().manual_seed(0)
        return self.map(self.normal(MEAN_OF, (self.mapped_size,), fixed), self.labels(MEAN_OF, fixed)).mean(0)

    def draft(self, codes: Tensor, rng: torch.Generator) -> Tensor:
        """As `decode`, with what is random in training: by default nothing."""
        return self.decode(codes)


class Styled(Conditional, Contested):
    """Has, beside conditions, a style z of its own for every row of faces.h5 (Ghosh's thesis, section 5.3.4).

    Attributes:
        rows: how many; 0: none, styles are drawn anew each time. An argument, which `fg train` gives.
        styles: z (rows, mapped_size), as `state_dict` has them; another faces.h5 has others.
    """

    can = "has a style for every training picture"
    such_as = "gif"
    rows: int
    styles: Tensor

    @abstractmethod
    def styles_of(self, rows: Tensor) -> Tensor:
        """z (n, mapped_size) of rows (n)."""


class Invertible(Contested, Encodes):
    """A GAN whose critic also tells codes: `code_head` on its last features (Ghosh's thesis, section 6.3.1).

    Codes are bounded, BOUND tanh(a / BOUND), which the thesis does not say: with free ones training may diverge.
    """

    can = "has a critic that tells codes"
    such_as = "invertible_dcgan"
    code_head: nn.Linear

    def oppose(self, critic: Critic) -> None:
        """Keeps the critic and puts a head for codes on it."""
        super().oppose(critic)
        self.code_head = nn.Linear(critic.size, self.code_shape[1])

    def codes_of(self, features: Tensor) -> Tensor:
        """Codes (n, 1, d) of the critic's last features (n, size)."""
        return BOUND * torch.tanh(self.code_head(features) / BOUND)[:, None]

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, 1, d)."""
        return self.codes_of(self.critic.features(images)[-1])


class Wraps(Generator):
    """Stands around another generator, whose weights it takes from a file and leaves as they are.

    Attributes:
        inner: the other one, in eval mode and without gradients.
    """

    can = "wraps another generator"
    such_as = "encoded"
    inner: Generator

    def train(self, mode: bool = True) -> Self:
        """As for every module, but for the other one."""
        super().train(mode)
        self.inner.eval()
        return self

    @abstractmethod
    def adopt(self) -> None:
        """Called once the other one has its weights."""


class Solved(Generator):
    """Has a closed form: it is fitted at once, not trained step by step."""

    can = "is solved, not trained"
    such_as = "pca"

    @abstractmethod
    def fit(self, images: np.ndarray) -> None:
        """Solves for uint8 images (n, h, w, c)."""


class Started(Generator):
    """Wants to see the data before the first step."""

    can = "starts from the data"
    such_as = "masked_vae"

    @abstractmethod
    def start(self, images: np.ndarray) -> None:
        """Sets weights from uint8 images (n, h, w, c)."""


class TellsClasses(ABC):
    """An extractor of features, not a generator, whose network also knows classes."""

    @abstractmethod
    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """The probability of each class (n, classes), float64, rows that sum to 1, of uint8 images (n, h, w, 3)."""


Kinds = Iterable[type[Generator]]


def require(
    generator: nn.Module | type[nn.Module], wanted: Kinds = (), refused: Kinds = (), *, by: str, otherwise: str = ""
) -> None:
    """Raises UsageError unless a generator, or its class, has what is wanted and nothing that is refused.

    Args:
        generator: or its class: what is declared can be asked before any weight is read.
        wanted: capabilities that it must have.
        refused: capabilities that it must not have.
        by: who asks, for the message: "objective rae".
        otherwise: what else than another generator would do.
    """
    kind = generator if isinstance(generator, type) else type(generator)
    for capability in wanted:
        if not issubclass(kind, capability):
            fix = f"choose one such as {capability.such_as}" if capability.such_as else "choose one"
            raise UsageError(
                f"{by}: expected a generator that {capability.can}, found {kind.__name__}; {fix}{otherwise}"
            )
    for capability in refused:
        if issubclass(kind, capability):
            raise UsageError(
                f"{by}: expected no generator that {capability.can}, found {kind.__name__}; choose another one"
            )
