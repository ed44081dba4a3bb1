"""What the keyset says of the server's ways: policies can require each of these words."""

from __future__ import annotations

from collections.abc import Mapping

from blindai.channel.keyset import SettingValue
from blindai.server.settings import Settings
from blindai.server.watch import telemetry
from blindai.server.who_may import is_open


def promises(
    settings: Settings, *, sealing: str, environment: Mapping[str, str]
) -> Mapping[str, SettingValue]:
    """Return the settings of the keyset. They do not change while it is valid."""
    return {
        "isolation": "thread",
        "sandbox": "none",
        "model_upload": _model_upload(settings),
        "sealing": (sealing,),
        "telemetry": telemetry.setting(settings.telemetry_endpoint, environment),
    }


def _model_upload(settings: Settings) -> str:
    if not settings.model_upload:
        return "off"
    return "open" if is_open(settings) else "owners"
