"""Attacks: inputs made to deceive a generator that classifies (Ghosh's thesis, sections 4.6 to 4.8).

An attack has `targeted`, `from_noise` and `craft(defence, images, classes, rng) -> images`: images (n, c, h, w) in
[-1, 1] before and after; `classes` (n) are those to leave, or of a targeted attack those to reach; `rng` is on the CPU.
One from noise asks of the images only their shape and whether they are grey. Sizes of a change are those of values in
[0, 1], where CleverHans has its defaults. A grey picture is attacked in grey: one change for its three channels.
`defence` is a SelectiveClassifier, see fgcli.classifiers.selective.
"""

ATTACKS = {
    "fgsm": "fgcli.attacks.fgsm:FGSM",
    "mim": "fgcli.attacks.mim:MIM",
    "pgd": "fgcli.attacks.pgd:PGD",
    "white_box": "fgcli.attacks.white_box:WhiteBox",
    "fooling": "fgcli.attacks.fooling:Fooling",
}
