"""Objectives: loss terms, their weights, and who is updated when.

An objective is an `nn.Module` built with the generator that lists `phases` (see fgcli.training.phase). Its file
names the system whose loss it is.
"""

OBJECTIVES = {
    "masked_elbo": "fgcli.objectives.masked_elbo:MaskedELBO",
    "gmm_vae": "fgcli.objectives.gmm_vae:GMMELBO",
    "vae": "fgcli.objectives.vae:VAE",
    "wae_mmd": "fgcli.objectives.wae_mmd:WAEMMD",
    "rae": "fgcli.objectives.rae:RAE",
    "adversarial_vae": "fgcli.objectives.adversarial_vae:AdversarialVAE",
}
