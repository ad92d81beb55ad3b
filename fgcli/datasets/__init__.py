"""Readers of face photos as they are published on disk."""

DATASETS = {
    "openpeople": "fgcli.datasets.openpeople:openpeople",
    "orl": "fgcli.datasets.orl:orl",
    "image_folder": "fgcli.datasets.image_folder:image_folder",
    "celeba": "fgcli.datasets.celeba:celeba",
    "celeba_hq": "fgcli.datasets.celeba_hq:celeba_hq",
    "ffhq": "fgcli.datasets.ffhq:ffhq",
}
"""Functions that return a `fgcli.datasets.photoset.PhotoSet`; they list files and read tables, never photos."""
