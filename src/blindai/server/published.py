"""The policy that the operator publishes, for clients to compare; it demands nothing of this server."""

from __future__ import annotations

from pathlib import Path

from blindai.attestation.policy import Policy
from blindai.errors import PolicyError, UsageError
from blindai.server.settings import Settings


def published_policy(settings: Settings) -> bytes | None:
    """Read the policy to publish, or raise PolicyError: what no client could load helps nobody."""
    if settings.published_policy is None:
        return None
    try:
        text = Path(settings.published_policy).read_bytes()
        Policy.from_toml(text.decode("utf-8"))
    except OSError as exc:
        raise UsageError(f"{settings.published_policy} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise PolicyError(f"the policy is not UTF-8: {settings.published_policy}") from exc
    return text
