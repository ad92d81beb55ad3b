"""Generators: networks that map codes to images, and images to codes where they can.

A generator is an `nn.Module` with `encode(images) -> codes`, `decode(codes, condition=None) -> images`,
`prior(n, rng) -> codes`, and the attributes `code_shape` (l, d), `image_shape` (c, h, w) and `space`. Images are
float in [-1, 1], (n, c, h, w); codes are (n, l, d). Those with a mask head have `decode_mask(codes)`; those that are
solved rather than trained have `fit(images)`; those that start from the data have `start(images)`. None of them knows
its loss.
"""

from fgcli.generators.store import Generator, load, match, save, tensor, verify

GENERATORS = {
    "masked_vae": "fgcli.generators.masked_vae:MaskedVAE",
    "unmasked_vae": "fgcli.generators.masked_vae:UnmaskedVAE",
    "conv_autoencoder": "fgcli.generators.conv_autoencoder:ConvAutoencoder",
    "conv_vae": "fgcli.generators.conv_autoencoder:ConvVAE",
    "gmm_vae": "fgcli.generators.gmm_vae:GMMVAE",
    "began_vae": "fgcli.generators.began_vae:BeganVAE",
    "pca": "fgcli.generators.pca:PCA",
}

__all__ = ["GENERATORS", "Generator", "load", "match", "save", "tensor", "verify"]
