"""Generators: networks that map codes to images, and whatever more they declare (see fgcli.capabilities).

An entry inherits `Generator`, or the capabilities that it has; its constructor takes `image_shape` (c, h, w) and flat
arguments. None knows its loss. `store` writes and reads generator.h5.
"""

GENERATORS = {
    "masked_vae": "fgcli.generators.masked_vae:MaskedVAE",
    "unmasked_vae": "fgcli.generators.masked_vae:UnmaskedVAE",
    "conv_autoencoder": "fgcli.generators.conv_autoencoder:ConvAutoencoder",
    "conv_vae": "fgcli.generators.conv_autoencoder:ConvVAE",
    "gmm_vae": "fgcli.generators.gmm_vae:GMMVAE",
    "began_vae": "fgcli.generators.began_vae:BeganVAE",
    "dcgan": "fgcli.generators.dcgan:DCGAN",
    "invertible_dcgan": "fgcli.generators.dcgan:InvertibleDCGAN",
    "stylegan2": "fgcli.generators.stylegan2:StyleGAN2",
    "invertible_stylegan2": "fgcli.generators.stylegan2:InvertibleStyleGAN2",
    "gif": "fgcli.generators.gif:GIF",
    "biggan": "fgcli.generators.biggan:BigGAN",
    "invertible_biggan": "fgcli.generators.biggan:InvertibleBigGAN",
    "encoded": "fgcli.generators.encoded:Encoded",
    "encoded_gif": "fgcli.generators.encoded:EncodedGIF",
    "tiled": "fgcli.generators.tiled:Tiled",
    "pca": "fgcli.generators.pca:PCA",
    "grammar_autoencoder": "fgcli.generators.grammar_autoencoder:GrammarAutoencoder",
    "grammar_vae": "fgcli.generators.grammar_autoencoder:GrammarVAE",
    "character_autoencoder": "fgcli.generators.grammar_autoencoder:CharacterAutoencoder",
    "character_vae": "fgcli.generators.grammar_autoencoder:CharacterVAE",
}
