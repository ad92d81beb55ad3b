"""Readers of face photos, and of pictures of other things, as they are published on disk."""

DATASETS = {
    "openpeople": "fgcli.datasets.openpeople:openpeople",
    "orl": "fgcli.datasets.orl:orl",
    "image_folder": "fgcli.datasets.image_folder:image_folder",
    "celeba": "fgcli.datasets.celeba:celeba",
    "celeba_hq": "fgcli.datasets.celeba_hq:celeba_hq",
    "ffhq": "fgcli.datasets.ffhq:ffhq",
    "digits": "fgcli.datasets.digits:digits",
    "mnist_5k": "fgcli.datasets.mnist_5k:mnist_5k",
    "mnist": "fgcli.datasets.mnist:mnist",
    "cifar10": "fgcli.datasets.cifar10:cifar10",
    "svhn": "fgcli.datasets.svhn:svhn",
    "coil100": "fgcli.datasets.coil100:coil100",
    "patches": "fgcli.datasets.patches:patches",
    "multi_digit": "fgcli.datasets.multi_digit:multi_digit",
}
"""Functions that list files and read tables, never photos. Those of faces return a
`fgcli.datasets.photoset.PhotoSet`, whose photos are searched for a face; the others a
`fgcli.datasets.pictureset.PictureSet`, whose pictures are taken whole. Arguments that name files or folders are called
as in `fgcli.datasets.files.OWN`, so that under dvc they are asked for among the deps."""
