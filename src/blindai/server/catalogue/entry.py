"""One model of the catalogue."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from blindai.runtime.engine import LoadedModel
from blindai.server.callers.access import Access
from blindai.server.callers.caller import Caller
from blindai.store.record import StoredModel
from blindai.wire.access import Sharing, Visibility
from blindai.wire.metadata import ModelEntry
from blindai.wire.model_name import ModelName

VERSION = "1"


@dataclass(frozen=True)
class ModelLimits:
    """What one model takes. Zero is "no limit of its own"."""

    requests_per_minute: int = 0
    max_request_bytes: int = 0
    max_waiting: int = 0


@dataclass(frozen=True)
class Entry:
    """A model and its limits. Those of the start were named by the operator, and lie in clear on the disk."""

    record: StoredModel
    limits: ModelLimits
    startup: bool = False

    @property
    def key(self) -> str:
        """What the shelf knows it by: another after each upload, so that no request gets a wrong model."""
        return self.record.id

    @property
    def label(self) -> str:
        """What metrics and logs call it: the operator's own name, or an id that says nothing."""
        return str(self.record.name) if self.startup else self.record.id

    def access(self, bound_keys: tuple[str, ...]) -> Access:
        """Return what decides who may do what. Models of the start are no one key's, but the settings'."""
        record = self.record
        keys = () if self.startup else bound_keys
        return Access(record.name.namespace, record.visibility, record.shared_with, keys)

    def shown(self, state: str, *, last_used: int, owned: bool) -> ModelEntry:
        """Return what the repository says of it, to an owner or to others."""
        record = self.record
        return ModelEntry(
            name=str(record.name),
            version=VERSION,
            state=state,
            reason="",
            sha256=record.sha256,
            size_bytes=record.size_bytes,
            id=record.id,
            visibility=record.visibility.value,
            shared_with=record.shared_with if owned else (),
            created=record.created,
            last_used=last_used if owned else 0,
        )


def default_sharing(caller: Caller, replaced: Entry | None) -> Sharing:
    """Return who an uploaded model is for, where its uploader does not say."""
    # A new version is for those whom the old one was for. But nobody's bytes become public unsaid: another
    # holder of the namespace may have prepared a public model of that name.
    public = replaced is not None and replaced.record.visibility == Visibility.PUBLIC
    if replaced is not None and not (public and caller.is_authenticated):
        return Sharing(replaced.record.visibility, replaced.record.shared_with)
    return Sharing(Visibility.PRIVATE if caller.is_authenticated else Visibility.PUBLIC)


def new_record(  # noqa: PLR0913 - what is known of a model
    name: ModelName,
    sha256: str,
    size_bytes: int,
    sharing: Sharing,
    model: LoadedModel,
    *,
    now: int,
    served: int,
) -> StoredModel:
    """Return the record of a model that was just loaded, under an id of its own."""
    return StoredModel(
        name=name,
        id=secrets.token_hex(8),
        sha256=sha256,
        size_bytes=size_bytes,
        visibility=sharing.visibility,
        shared_with=sharing.shared_with,
        platform=model.platform,
        inputs=model.inputs,
        outputs=model.outputs,
        created=now,
        last_used=now,
        last_used_served=served,
    )
