"""Autoencoders of sentences, that of Kusner et al. (*Grammar Variational Autoencoder*, 2017) as *Reining in the Deep
Generative Models* (Ghosh, section 3.8.2) uses it: convolutions over a derivation's rules, and back a recurrent network
whose choice, at each step, is among the rules of the symbol whose turn it is."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from fgcli.capabilities import Halves, Posterior, Writes
from fgcli.config.fields import Count, CountOrNone
from fgcli.errors import FlawError
from fgcli.grammars import Grammar
from fgcli.grammars.languages import Language

LOG_STD = 5.0
"""Largest |log sigma|."""


class GrammarAutoencoder(Halves, Writes):
    """Deterministic encoder and decoder of derivations: for GRAE, and GCVVAE, whose noise is constant.

    The code is where the decoder's memory starts and what it is told at every step; of the rules before it is told
    nothing, unless `feedback` tells it the last one.

    Args:
        image_shape: (rules + 1, 1, steps), from sentences.h5.
        grammar: its text in lark's format, from sentences.h5.
        language: what sentences mean, from sentences.h5.
        codes: code size d; 25 for expressions and 56 for molecules in the paper.
        maps: of each convolution; 2, 3, 4 for expressions and 9, 9, 10 for molecules in the paper.
        kernels: steps that each convolution sees; 9, 9, 11 for molecules in the paper.
        dense: units between convolutions and code; 435 for molecules in the paper, which has as many behind the code.
        recurrent: units of the decoder; 501 for molecules in the paper.
        layers: recurrent layers; 3 in the paper.
        feedback: units by which each step is told the rule before it; 0, as in the paper: it is not.

    Raises:
        ValueError: a grammar of other rules, sentences shorter than the convolutions see, or not a kernel for each
            number of maps.
    """

    decoder: Decoder
    turns: Tensor
    heads: ClassVar[int] = 1
    masked: ClassVar[bool] = True

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        grammar: str,
        language: Language = "text",
        codes: Count = 25,
        maps: tuple[Count, ...] = (16, 16, 16),
        kernels: tuple[Count, ...] = (2, 3, 4),
        dense: Count = 100,
        recurrent: Count = 100,
        layers: Count = 1,
        feedback: CountOrNone = 0,
    ) -> None:
        super().__init__()
        self.image_shape, self.code_shape = image_shape, (1, codes)
        try:
            self.grammar = Grammar(grammar)
        except FlawError as error:
            raise ValueError(f"grammar: {error}") from error
        self.language, (k, _, steps) = language, image_shape
        if len(self.grammar.rules) + 1 != k:
            raise ValueError(f"expected a grammar of {k - 1} rules, found {len(self.grammar.rules)}; leave it out")
        left = steps - sum(kernel - 1 for kernel in kernels)
        if left < 1:
            raise ValueError(f"expected more than {steps - left} steps, found {steps}; take smaller kernels")
        if len(maps) != len(kernels):
            raise ValueError(f"expected as many kernels as maps, {len(maps)}, found {len(kernels)}")
        self.encoder = encoder((k, *maps), kernels, left, dense, codes * self.heads)
        self.decoder = Decoder(k, codes, recurrent, layers, feedback)
        for module in self.modules():
            start(module)
        symbols = len(self.grammar.symbols)
        table = torch.from_numpy(self.grammar.allowed()) if self.masked else torch.ones(symbols + 1, k)
        heads = torch.tensor([*(rule.head for rule in self.grammar.rules), symbols])
        self.register_buffer("turns", table.bool(), persistent=False)
        self.register_buffer("allowed", table.bool()[heads], persistent=False)

    def encode(self, images: Tensor) -> Tensor:
        """Codes (n, 1, d)."""
        return self.encoder(taken(images))[:, None]

    def logits(self, codes: Tensor, sentences: Tensor) -> Tensor:
        """(n, k, 1, t)."""
        return self.decoder(codes[:, 0], taken(sentences))[:, :, None]

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Planes of the likeliest rule at each step among those of the symbol whose turn it is, in {-1, 1}."""
        k, _, steps = self.image_shape
        told, chosen = codes.new_zeros(len(codes), k), []
        turn = Turn(self.grammar, len(codes), steps, codes.device)
        state = self.decoder.state(codes[:, 0])
        for _ in range(steps):
            logits, state = self.decoder.step(codes[:, 0], told, state)
            rule = logits.masked_fill(~self.turns[turn.symbol()], -torch.inf).argmax(1)
            turn.take(rule)
            told = nn.functional.one_hot(rule, k).to(codes)
            chosen.append(told)
        return 2 * torch.stack(chosen, 2)[:, :, None] - 1


class GrammarVAE(Posterior, GrammarAutoencoder):
    """The same with two heads, mean and log standard deviation: for GVAE. Arguments as above."""

    heads = 2

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (n, d) of q(z | x)."""
        mean, raw = self.encoder(taken(images)).chunk(2, 1)
        return mean, LOG_STD * torch.tanh(raw)


class CharacterAutoencoder(GrammarAutoencoder):
    """The same without a grammar's help: at each step it may choose anything, also an end or what follows it.

    With sentences of the grammar `characters` it is the decoder of Gomez-Bombarelli et al. (2018). Arguments as above.
    """

    masked = False


class CharacterVAE(GrammarVAE):
    """That with two heads: for CVAE. Arguments as above."""

    masked = False


class Decoder(nn.Module):
    """Codes (n, d) -> logits (n, k, t): a recurrent network that starts from the code and is told it at every step.

    Args:
        k: choices. codes: d. recurrent: units. layers: of the recurrent network.
        feedback: units by which a step is told the choice before it; 0: it is not.
    """

    def __init__(self, k: int, codes: int, recurrent: int, layers: int, feedback: int) -> None:
        super().__init__()
        self.begin = nn.Linear(codes, layers * recurrent)
        self.before = nn.Linear(k, feedback, bias=False) if feedback else None
        self.recurrent = nn.GRU(codes + feedback, recurrent, layers, batch_first=True)
        self.choose = nn.Linear(recurrent, k)

    def state(self, codes: Tensor) -> Tensor:
        """Of the network before the first step, (layers, n, units); from 0 molecules are learned more slowly."""
        layers = torch.tanh(self.begin(codes)).chunk(self.recurrent.num_layers, 1)
        return torch.stack(layers)

    def forward(self, codes: Tensor, sentences: Tensor) -> Tensor:
        """Of all steps at once; `sentences` (n, k, t) have the choices, of which each step is told the one before."""
        steps = sentences.shape[2]
        inputs = codes[:, None].expand(-1, steps, -1)
        if self.before:
            told = nn.functional.pad(sentences, (1, 0))[:, :, :steps].transpose(1, 2)
            inputs = torch.cat([inputs, self.before(told)], 2)
        return self.choose(self.recurrent(inputs, self.state(codes))[0]).transpose(1, 2)

    def step(self, codes: Tensor, before: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, k) of one step and the state after it; `before` (n, k) is the choice before."""
        inputs = torch.cat([codes, self.before(before)], 1) if self.before else codes
        found, state = self.recurrent(inputs[:, None], state)
        return self.choose(found[:, 0]), state


class Turn:
    """Whose turn it is in each of n derivations: the symbols that are still to be replaced, the next one on top.

    Args:
        grammar: of the derivations.
        n: how many.
        steps: rules of each at most.
    """

    def __init__(self, grammar: Grammar, n: int, steps: int, device: torch.device) -> None:
        bodies = [tuple(reversed(rule.symbols)) for rule in grammar.rules]
        self.none, most = len(grammar.symbols), max(1, *map(len, bodies))
        padded = [[*body, *[self.none] * (most - len(body))] for body in [*bodies, ()]]
        self.bodies = torch.tensor(padded, device=device)
        self.counts = torch.tensor([*map(len, bodies), 0], device=device)
        self.stack = torch.full((n, 2 + steps * most), self.none, device=device)
        self.stack[:, 1] = 0  # below it what remains when all are replaced: none
        self.top = torch.ones(n, dtype=torch.long, device=device)

    def symbol(self) -> Tensor:
        """On top (n), the number of symbols where none is left."""
        return self.stack.gather(1, self.top[:, None])[:, 0]

    def take(self, rules: Tensor) -> None:
        """Replaces the symbols on top by those of rules (n)."""
        places = self.top.clamp_min(1)
        across = torch.arange(self.bodies.shape[1], device=places.device)
        self.stack.scatter_(1, places[:, None] + across, self.bodies[rules])
        self.top = (places - 1 + self.counts[rules]) * (self.top > 0)


def start(module: nn.Module) -> None:
    """Weights as Keras starts them, where the paper's were: Glorot's, orthogonal from step to step, biases 0.

    With PyTorch's own a decoder learns only what all sentences have in common for hundreds of steps.
    """
    if isinstance(module, nn.Linear | nn.Conv1d | nn.GRU):
        for name, weights in module.named_parameters():
            if weights.ndim < 2:
                nn.init.zeros_(weights)
                continue
            for gate in weights.chunk(3 if isinstance(module, nn.GRU) else 1):
                (nn.init.orthogonal_ if "hh" in name else nn.init.xavier_uniform_)(gate)


def taken(images: Tensor) -> Tensor:
    """Planes (n, k, 1, t) in [-1, 1] as (n, k, t) in [0, 1]."""
    return (images[:, :, 0] + 1) / 2


def encoder(maps: Sequence[int], kernels: Sequence[int], left: int, dense: int, outputs: int) -> nn.Sequential:
    """(n, k, t) -> (n, outputs): convolutions from maps to maps, which leave some steps, a dense layer, the code's.

    Without the paper's batch norm: codes would shrink, and the weight of their size would have nothing to hold.
    """
    blocks: list[nn.Module] = []
    for (before, after), kernel in zip(pairwise(maps), kernels, strict=True):
        blocks += [nn.Conv1d(before, after, kernel), nn.ReLU()]
    dense_layers = [nn.Linear(maps[-1] * left, dense), nn.ReLU(), nn.Linear(dense, outputs)]
    return nn.Sequential(*blocks, nn.Flatten(), *dense_layers)
