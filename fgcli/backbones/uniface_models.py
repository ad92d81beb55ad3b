"""Loading models of the package uniface, which fetches their weights at first use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fgcli.errors import FgError

PROVIDERS = ["CPUExecutionProvider"]
"""Always the same arithmetic, and safe in many processes."""


def fetched(key: str, make: Callable[[], Any]) -> Any:
    """What `make` returns.

    Args:
        key: where in params the model was asked for.
        make: imports uniface and builds a model.

    Raises:
        FgError: uniface is not installed, or its weights can be neither found nor fetched.
    """
    try:
        return make()
    except ImportError as error:
        raise FgError(f'{key}: expected the package uniface, found none; pip install "fgcli[uniface]"') from error
    except (ConnectionError, OSError, RuntimeError) as error:
        raise FgError(
            f"{key}: expected uniface's weights in its cache or on the net, found neither ({error}); "
            "connect once, or put them where UNIFACE_CACHE_DIR points"
        ) from error
