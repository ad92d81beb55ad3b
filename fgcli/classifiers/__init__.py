"""Classifiers: what tells the classes of a data set apart, and may refuse to; judges of attributes.

`network` is trained by `fg classifier`, and `features` are its hidden layer. `selective` makes a classifier with
thresholds of a generator that classifies, and `calibration` sets them: what `fg classify` uses and `fg attack` attacks.
`judges` are trained by `fg judges` on all attributes at once; an entry of JUDGES is a network for pictures, whose
constructor takes `attributes`, `side` and flat arguments.
"""

JUDGES = {
    "residual": "fgcli.classifiers.residual:Residual",
    "torchvision": "fgcli.classifiers.torchvision_judge:Torchvision",
}
