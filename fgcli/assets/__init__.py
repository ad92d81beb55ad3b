"""External weights: what they are, where they come from, whose terms they carry, and which of them are here.

Nothing is ever downloaded. A person fetches a file and hands it to `fg assets import`; whoever needs it asks `need`.
"""

from fgcli.assets.registry import ASSETS, Asset
from fgcli.assets.store import (
    check,
    find,
    folder,
    how_to_get,
    import_file,
    is_known,
    need,
    read_tensors,
    state_dict,
    verify_download,
)

__all__ = [
    "ASSETS",
    "Asset",
    "check",
    "find",
    "folder",
    "how_to_get",
    "import_file",
    "is_known",
    "need",
    "read_tensors",
    "state_dict",
    "verify_download",
]
