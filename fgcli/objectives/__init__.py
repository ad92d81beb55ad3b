"""Objectives: loss terms, their weights, and who is updated when.

An objective is an `nn.Module` built with the generator that lists `phases` (see fgcli.training.phase). Its file
names the system whose loss it is.
"""

OBJECTIVES = {
    "masked_elbo": "fgcli.objectives.masked_elbo:MaskedELBO",
}
