"""How far what a generator makes of a code is from what was encoded: squared error of pictures, cross-entropy of
sentences under the grammar's mask (Kusner et al. 2017). An objective reduces either in its own way."""

from __future__ import annotations

import torch
from torch import Tensor

from fgcli.capabilities import Generator, Writes


def outputs(network: Generator, codes: Tensor, x: Tensor) -> Tensor:
    """What the error is of, smooth in codes (n, l, d): pictures in [0, 1], or logits of sentences, (n, c, h, w).

    Args:
        network: the generator.
        codes: of `x`, or of draws around its codes.
        x: the pictures in [0, 1], or planes of sentences in {0, 1}, which a step may be told up to its own.
    """
    if isinstance(network, Writes):
        return network.logits(codes, 2 * x - 1)
    return (network.decode(codes) + 1) / 2


def errors(network: Generator, x: Tensor, found: Tensor) -> Tensor:
    """Of what `outputs` found: squared, (n, c, h, w); of sentences each step's cross-entropy, nats, (n, 1, 1, t)."""
    if isinstance(network, Writes):
        return cross_entropy(found.float(), x, network.allowed)
    return (x - found.float()).square()


def cross_entropy(logits: Tensor, x: Tensor, allowed: Tensor) -> Tensor:
    """-log p of the rule that is taken, p = softmax over those of the same symbol alone, (n, 1, 1, t).

    Args:
        logits: (n, k, 1, t).
        x: planes (n, k, 1, t) in {0, 1}.
        allowed: bool (k, k), see `Writes`. Where a symbol has one rule, and after the end, it is 0.

    >>> two_of_three = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)
    >>> x = torch.eye(3)[None, :, None, [0, 2]]
    >>> cross_entropy(torch.zeros(1, 3, 1, 2), x, two_of_three).exp().flatten().tolist()
    [2.0, 1.0]
    """
    taken = x.argmax(1, keepdim=True)
    mask = allowed[taken[:, 0]].movedim(-1, 1)
    return -logits.masked_fill(~mask, -torch.inf).log_softmax(1).gather(1, taken)
