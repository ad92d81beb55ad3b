"""Classifiers: what tells the classes of a data set apart, and may refuse to.

`network` is trained by `fg classifier`, and `features` are its hidden layer. `selective` makes a classifier with
thresholds of a generator that classifies, and `calibration` sets them: what `fg classify` uses and `fg attack` attacks.
"""
