"""Loads the models that the operator names. They lie in clear on the disk; the sealed store is the answer."""

from __future__ import annotations

import hashlib
from pathlib import Path

from blindai.errors import RequestError, UsageError
from blindai.runtime.engine import Engine
from blindai.runtime.model_bytes import ModelBytes
from blindai.server.catalogue.admission import Admission
from blindai.server.catalogue.entry import ModelLimits
from blindai.server.settings import ModelSettings
from blindai.wire.access import Sharing
from blindai.wire.model_name import ModelName

_PIECE_BYTES = 2**20


def load_startup_model(
    admission: Admission, engine: Engine, given: ModelSettings, *, max_bytes: int, limits: ModelLimits
) -> None:
    """Load one model and hold it. Blocks. Raises UsageError for what cannot be served."""
    path = Path(given.path)
    try:
        content, sha256 = _read(path, max_bytes)
        size = content.size_bytes
        model = engine.load(content)
        sharing = Sharing(given.visibility, given.shared_with)
        admission.add_startup(ModelName.parse(given.name), model, sha256, size, sharing, limits)
    except OSError as exc:
        raise UsageError(f"{path} cannot be read: {exc.strerror}") from exc
    except RequestError as exc:
        raise UsageError(f"{path} cannot be served as {given.name!r}: {exc}") from exc


def _read(path: Path, max_bytes: int) -> tuple[ModelBytes, str]:
    """Read a file into one buffer, and hash it. A pipe, which has no size, gives what comes out of it."""
    content = ModelBytes.allocate(0)
    hasher = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while (piece := file.read(_PIECE_BYTES)) and content.size_bytes <= max_bytes:
                content.append(piece)
                hasher.update(piece)
        if content.size_bytes > max_bytes:
            raise UsageError(f"{path} is over the limit of {max_bytes} bytes")
    except BaseException:
        content.close()
        raise
    return content, hasher.hexdigest()
