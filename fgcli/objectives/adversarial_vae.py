"""The adversarial VAE's losses (Khan, Hayat and Barnes, "Adversarial Training of Variational Auto-encoders for High
Fidelity Image Generation", sections 3.1 to 3.4).

All image terms compare in [-1, 1], all terms are means over batch and entries; so is the KL divergence, whose
reduction the paper does not tell.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fgcli.capabilities import Halves, Posterior
from fgcli.config.fields import Count, Weight
from fgcli.layers.began import began_decoder, began_encoder
from fgcli.objectives.vae import kl_divergence
from fgcli.training.objective import Batch, Group, Objective, Phase, Terms


class AdversarialVAE(Objective):
    """A VAE against an autoencoder D that shall reconstruct photos well and the VAE's pictures badly.

    Each step draws noise once and updates encoder, decoder, then D with it (Algorithm 1), whose balance k a controller
    keeps. With x a photo, x_v its reconstruction, x_g a draw and x' = D(x), the phases minimise

        encoder        L_n + beta L_s + gamma L_e                  (Eq. 15)
        decoder        L_g + alpha L_v + beta L_s + gamma L_e      (Eq. 14)
        discriminator  L_d - k (L_g + alpha L_v)                   (Eq. 13)

    where L_e = |x - x_v|, L_s = |z_d - z'_v| between D's codes of x and x_v, L_d = |x - x'_d|, L_g = |x_g - x'_g| and
    L_v = |x_v - x'_v|. The discriminator's log also has k, the error e of the controller and the convergence measure.

    Args:
        generator: has a posterior, and is an encoder and a decoder and nothing else.
        codes: code size of D; BEGAN's is 64, the paper's is not told.
        filters: of D's first block.
        kl: weight of L_n; 1 in the paper.
        reconstructed: weight alpha of L_v beside L_g; 0.3 in the paper.
        similarity: weight beta of L_s; 0.1 in the paper.
        l1: weight gamma of L_e; 0.1 in the paper.
        diversity: eta, to which the controller steers (L_g + alpha L_v) / L_d; 0.5 in the paper.
        integral: gain lambda_1; 1e-3 in the paper.
        proportional: gain lambda_2; 1e-5 in the paper.
        differential: gain lambda_3; 1e-5 in the paper.
    """

    network: Posterior
    k: Tensor
    errors: Tensor

    def __init__(
        self,
        generator: Halves,
        codes: Count = 64,
        filters: Count = 64,
        kl: Weight = 1.0,
        reconstructed: Weight = 0.3,
        similarity: Weight = 0.1,
        l1: Weight = 0.1,
        diversity: Weight = 0.5,
        integral: Weight = 1e-3,
        proportional: Weight = 1e-5,
        differential: Weight = 1e-5,
    ) -> None:
        super().__init__(generator, (Halves, Posterior))
        self.gains = (integral, proportional, differential)
        self.discriminator = Discriminator(generator.image_shape, codes, filters)
        self.reconstructed, self.diversity = reconstructed, diversity
        self.register_buffer("k", torch.zeros(()))
        self.register_buffer("errors", torch.zeros(2))  # e_{t-1}, e_{t-2}
        guide = {"similarity": similarity, "l1": l1}
        judged = {"drawn": 1.0, "reconstructed": reconstructed}
        against = {"real": 1.0, "fake": -1.0, "k": 0.0, "error": 0.0, "measure": 0.0}
        moved = {"encoder": generator.encoder, "decoder": generator.decoder, "discriminator": self.discriminator}
        self.groups = {name: Group(list(part.parameters())) for name, part in moved.items()}
        self.phases = [
            Phase("encoder", "encoder", self.encoder_loss, {"kl": kl} | guide, draws="step"),
            Phase("decoder", "decoder", self.decoder_loss, judged | guide, draws="step"),
            Phase("discriminator", "discriminator", self.discriminator_loss, against, draws="step", after=self.settle),
        ]

    def encoder_loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """L_n, L_s, L_e; in eval mode, at the mean codes and without L_s: D's measure changes as it learns."""
        x = batch["images"]
        mu, log_std = self.posterior(x)
        x_v = self.network.decode(self.sample(mu, log_std, rng) if self.training else mu)
        terms = {"kl": kl_divergence(mu, log_std).mean(), "l1": distance(x, x_v)}
        if self.training:
            terms["similarity"] = distance(self.codes(x), self.discriminator.encoder(x_v))
        return terms

    def decoder_loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """L_g, L_v, L_s, L_e."""
        x = batch["images"]
        fakes = self.network.decode(self.both_codes(x, rng))
        hidden = self.discriminator.encoder(fakes)
        (x_v, x_g), (y_v, y_g) = fakes.chunk(2), self.discriminator.decoder(hidden).chunk(2)
        return {
            "drawn": distance(x_g, y_g),
            "reconstructed": distance(x_v, y_v),
            "similarity": distance(self.codes(x), hidden.chunk(2)[0]),
            "l1": distance(x, x_v),
        }

    def discriminator_loss(self, batch: Batch, rng: torch.Generator) -> Terms:
        """L_d, k_t (L_g + alpha L_v) with the k_t that this batch leads to (Alg. 1), and what is watched."""
        x = batch["images"]
        with torch.no_grad():
            fakes = self.network.decode(self.both_codes(x, rng))
        images = torch.cat([x, fakes.to(x.dtype)])
        real, reconstructed, drawn = map(distance, images.chunk(3), self.discriminator(images).chunk(3))
        fake = drawn + self.reconstructed * reconstructed
        error = (self.diversity * real - fake).detach()
        k = self.control(error)
        return {"real": real, "fake": k * fake, "k": k, "error": error, "measure": real.detach() + error.abs()}

    def control(self, error: Tensor) -> Tensor:
        """k_t = k_{t-1} + l_1 e_t + l_2 (e_t - e_{t-1}) + l_3 (e_t - 2 e_{t-1} + e_{t-2}) (Eq. 12), within [0, 1].

        e_t = eta L_d - L_g - alpha L_v: the paper's Eq. 11 writes + alpha L_v, its convergence measure -, and only
        with - is e = 0 the balance of Eq. 10. k rises while D reconstructs fakes too well.
        """
        last, before = self.errors
        integral, proportional, differential = self.gains
        change = integral * error + proportional * (error - last) + differential * (error - 2 * last + before)
        return (self.k + change).clamp(0, 1)

    def settle(self, values: dict[str, float]) -> None:
        """Keeps k_t and e_t once D's step is taken."""
        self.k.fill_(values["k"])
        self.errors.copy_(torch.stack([self.errors.new_tensor(values["error"]), self.errors[0]]))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (n, d), float32 whatever the autocast."""
        mu, log_std = self.network.posterior(x)
        return mu.float(), log_std.float()

    def sample(self, mu: Tensor, log_std: Tensor, rng: torch.Generator) -> Tensor:
        """z_v ~ q(z | x), (n, 1, d) (Eq. 4)."""
        noise = torch.randn(mu.shape, generator=rng, device=rng.device).to(mu.device)
        return (mu + noise * log_std.exp())[:, None]

    @torch.no_grad()
    def both_codes(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """z_v of photos, then as many z_g ~ N(0, I): (2 n, 1, d), constants."""
        return torch.cat([self.sample(*self.posterior(x), rng), self.network.prior(len(x), rng)])

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """D's codes z_d of photos, (n, codes), constants."""
        return self.discriminator.encoder(x)


class Discriminator(nn.Module):
    """D: an autoencoder of pictures (n, c, h, w) in [-1, 1], in BEGAN's network."""

    def __init__(self, image_shape: tuple[int, int, int], codes: int, filters: int) -> None:
        super().__init__()
        self.encoder = began_encoder(image_shape, codes, filters)
        self.decoder = began_decoder(image_shape, codes, filters)

    def forward(self, images: Tensor) -> Tensor:
        """D(x)."""
        return self.decoder(self.encoder(images))


def distance(a: Tensor, b: Tensor) -> Tensor:
    """|a - b|_1 over the number of entries (Eqs. 2, 7, 9), in float32."""
    return (a.float() - b.float()).abs().mean()
