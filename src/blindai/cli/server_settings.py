"""The server's settings for verbs that need them; the other verbs work where only the client is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blindai.errors import UsageError

if TYPE_CHECKING:
    from blindai.server.settings import Loaded


def load(config: str | None, flags: Mapping[str, Any], models: Sequence[str] = ()) -> Loaded:
    """Load the settings of a file, the environment and flags. Raises UsageError."""
    try:
        from blindai.server import lifecycle  # noqa: F401, PLC0415  everything that a server needs
        from blindai.server.settings import load_settings  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        raise UsageError(
            f"the server's packages are not installed ({exc.name})",
            hint="install this package again with its [server] extra",
        ) from exc
    return load_settings(None if config is None else Path(config), os.environ, flags, models=models)
