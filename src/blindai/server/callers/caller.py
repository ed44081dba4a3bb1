"""Whoever sent a request, as the rest of the server knows them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller is there for."""

    ADMIN = "admin"  # keeps the server in order; sees that models exist, never runs other people's
    OWNER = "owner"  # uploads models into their namespace
    USER = "user"  # runs models


@dataclass(frozen=True)
class Quota:
    """What one caller may take. Zero is "no limit of its own": those of the server hold."""

    max_models: int = 0
    max_model_bytes: int = 0
    requests_per_minute: int = 0


NO_QUOTA = Quota()


@dataclass(frozen=True)
class Caller:
    """An authenticated caller, or `ANONYMOUS`.

    `key_id` is who they are; the rest comes from settings or a token's issuer, which the host may edit. The
    namespace "" is the server's own shelf, which only an admin has for their own.
    """

    name: str
    role: Role
    namespace: str
    key_id: str
    quota: Quota

    @property
    def is_authenticated(self) -> bool:
        return self.key_id != ""


# Whoever sends no key to a server that was opened to everybody: the server's own shelf is theirs.
ANONYMOUS = Caller("", Role.OWNER, "", "", NO_QUOTA)
# Whoever was not asked, on the paths that answer everybody. May do nothing with any model.
ANYBODY = Caller("", Role.USER, "", "", NO_QUOTA)
