"""Objectives: loss terms, their weights, what is updated when, and what validation measures.

An entry is an `Objective` (fgcli.training.objective) whose constructor takes `generator`, and `seed` if it draws; its
file names the system whose loss it is.
"""

OBJECTIVES = {
    "masked_elbo": "fgcli.objectives.masked_elbo:MaskedELBO",
    "gmm_vae": "fgcli.objectives.gmm_vae:GMMELBO",
    "vae": "fgcli.objectives.vae:VAE",
    "wae_mmd": "fgcli.objectives.wae_mmd:WAEMMD",
    "rae": "fgcli.objectives.rae:RAE",
    "gan": "fgcli.objectives.gan:GAN",
    "gif": "fgcli.objectives.gif:GIFLoss",
    "invgan": "fgcli.objectives.invgan:InvGAN",
    "inversion": "fgcli.objectives.inversion:Inversion",
    "adversarial_vae": "fgcli.objectives.adversarial_vae:AdversarialVAE",
}
