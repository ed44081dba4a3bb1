"""API keys: the settings hold their hashes, so that whoever reads the settings can call nobody's models."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from blindai.errors import RequestError, UsageError
from blindai.server.callers.caller import NO_QUOTA, Caller, Quota, Role
from blindai.wire.access import is_key_id
from blindai.wire.api_key import key_id as key_id
from blindai.wire.api_key import new_key as new_key
from blindai.wire.model_name import check_namespace


@dataclass(frozen=True)
class KeyHolder:
    """One entry of `[[callers]]` in the settings."""

    name: str
    role: Role
    namespace: str
    key_sha256: str
    quota: Quota = NO_QUOTA


class ApiKeys:
    """Who holds which key. One person may hold several: each is an entry, with a name that may repeat."""

    def __init__(self, holders: Sequence[KeyHolder]) -> None:
        """Raise UsageError for a holder that cannot be meant."""
        self._callers: dict[str, Caller] = {}
        for holder in holders:
            caller = _caller(holder)
            if caller.key_id in self._callers:
                raise UsageError(
                    f"{self._callers[caller.key_id].name} and {caller.name} have the same key_sha256",
                    hint="every caller has a key of their own: blindai keys new",
                )
            self._callers[caller.key_id] = caller

    def holder_of(self, key: str) -> Caller | None:
        """Return whose key this is, if anybody's."""
        identifier = key_id(key)
        caller = self._callers.get(identifier)
        # How far the dictionary compared tells nothing of a key, only of its hash; this tells not even that.
        if caller is None or not hmac.compare_digest(caller.key_id, identifier):
            return None
        return caller


def _caller(holder: KeyHolder) -> Caller:
    _check_name("name of a caller", holder.name)
    if holder.role not in list(Role):
        raise UsageError(f"the role of {holder.name} is not one of {', '.join(Role)}")
    if not is_key_id(holder.key_sha256):
        raise UsageError(
            f"the key_sha256 of {holder.name} is not 64 lower-case hexadecimal digits",
            hint="it is the hash of the key, never the key: blindai keys new prints both",
        )
    if holder.namespace:
        _check_name(f"namespace of {holder.name}", holder.namespace)
    return Caller(holder.name, Role(holder.role), holder.namespace, holder.key_sha256, holder.quota)


def _check_name(what: str, name: str) -> None:
    try:
        check_namespace(name)  # a caller and a namespace are named alike: the one is often the other
    except RequestError as exc:
        raise UsageError(f"the {what} cannot be one: {exc}") from exc
