"""From the settings to those whom the server knows, and the rule of when it may know nobody."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from blindai.errors import UsageError
from blindai.server.callers.caller import Quota, Role
from blindai.server.callers.directory import Callers
from blindai.server.callers.keys import KeyHolder
from blindai.server.callers.tokens import Tokens, TokenSettings
from blindai.server.settings import CallerSettings, JwtSettings, Settings

AUDIENCE_PREFIX = "blindai:"  # of a token's "aud": "blindai:inference.example.org"


def known_callers(settings: Settings, names: Sequence[str]) -> Callers:
    """Return whom this server knows. Raises UsageError for settings that would open it unasked."""
    configured = bool(settings.callers) or settings.jwt is not None
    if not configured and not settings.open and not _is_simulation_at_home(settings):
        raise UsageError(
            "no callers are configured: whoever connects could upload, replace and delete models",
            hint="make a key with `blindai keys new --name alice` and put what it prints into the "
            "settings file (--config); or "
            "say --open, if that is what you want",
        )
    if configured and settings.open:
        raise UsageError(
            "the server is to be open to everybody, and has callers", hint="leave out open, or the callers"
        )
    return Callers(
        [_holder(caller) for caller in settings.callers],
        _tokens(settings.jwt, names),
        open=not configured,
    )


def is_open(settings: Settings) -> bool:
    """Whether callers are not told apart."""
    return not settings.callers and settings.jwt is None


def told(settings: Settings) -> str:
    """Return in words who may call; "" for everybody."""
    words = [f"{len(settings.callers)} with keys"] if settings.callers else []
    words += ["those with tokens"] if settings.jwt is not None else []
    return " and ".join(words)


def _is_simulation_at_home(settings: Settings) -> bool:
    if not settings.simulation:
        return False
    try:
        return ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        return settings.host == "localhost"


def _holder(caller: CallerSettings) -> KeyHolder:
    quota = Quota(caller.max_models, caller.max_model_bytes, caller.requests_per_minute)
    return KeyHolder(caller.name, Role(caller.role), caller.namespace, caller.key_sha256, quota)


def _tokens(jwt: JwtSettings | None, names: Sequence[str]) -> Tokens | None:
    if jwt is None:
        return None
    # The names are the host's to choose. With the bare name, a token that alice showed to the operator's wiki
    # would be good here, once the host calls this server so.
    audiences = [f"{AUDIENCE_PREFIX}{name}" for name in names]
    return Tokens(TokenSettings(jwt.jwks, jwt.issuer, jwt.role_claim, jwt.namespace_claim), audiences)
