"""VAE in BEGAN's network (Khan, Hayat and Barnes, "Adversarial Training of Variational Auto-encoders for High Fidelity
Image Generation", section 4)."""

from __future__ import annotations

from torch import Tensor

from fgcli.capabilities import Halves, Posterior
from fgcli.config.fields import Count
from fgcli.layers.began import began_decoder, began_encoder


class BeganVAE(Posterior, Halves):
    """Encoder to a Gaussian over codes, and a decoder of equal depth; all weights are of one or the other.

    Args:
        image_shape: (c, size, size); size is a power of two from 16: 64 and 128 in the paper.
        codes: code size d; BEGAN's is 64, the paper's is not told.
        filters: of the first block; the encoder's grow by as many a block. BEGAN: 64 or 128, the paper's not told.

    Raises:
        ValueError: images of another size.
    """

    def __init__(self, image_shape: tuple[int, int, int], codes: Count = 64, filters: Count = 64) -> None:
        super().__init__()
        self.image_shape, self.code_shape = image_shape, (1, codes)
        self.encoder = began_encoder(image_shape, 2 * codes, filters)
        self.decoder = began_decoder(image_shape, codes, filters)

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (n, d) of q(z | x)."""
        mean, log_std = self.encoder(images).chunk(2, dim=1)
        return mean, log_std

    def decode(self, codes: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images; linear in training, so that no pixel out of range is lost to the gradient, else within [-1, 1]."""
        images = self.decoder(codes.flatten(1))
        return images if self.training else images.clamp(-1, 1)
