"""What settings name and a running server can exchange: names, callers, the published policy, the operator.

Read at the start, and again on SIGHUP. Everything that can be wrong with it is found here, before any of it
takes effect.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from blindai.channel.keyset import SettingValue, Software
from blindai.server.callers.directory import Callers
from blindai.server.keys.identity import Identity, new_identity
from blindai.server.keys.operator import Operator
from blindai.server.keys.rotation import MakeIdentity, Rotation
from blindai.server.published import published_policy
from blindai.server.services import Services
from blindai.server.settings import Settings
from blindai.server.watch.logs import set_level
from blindai.server.who_may import known_callers

_log = logging.getLogger("blindai.server")


@dataclass(frozen=True)
class Prepared:
    """Nothing in it has taken effect."""

    names: tuple[str, ...]
    callers: Callers
    published_policy: bytes | None
    operator: Operator | None


def prepare(settings: Settings) -> Prepared:
    """Read what the settings name. Raises UsageError."""
    names = settings.dialled_names()
    return Prepared(
        names, known_callers(settings, names), published_policy(settings), _operator(settings.tls_dir)
    )


def _operator(folder: str | None) -> Operator | None:
    if folder is None:
        return None
    operator = Operator.load(Path(folder), now=int(time.time()))
    for warning in operator.warnings:
        _log.warning("%s", warning)
    return operator


@dataclass(frozen=True)
class Forge:
    """Makes identities; what it holds does not change while the server runs."""

    software: Software
    promises: Mapping[str, SettingValue]
    simulated: bool

    def maker(self, settings: Settings, prepared: Prepared) -> MakeIdentity:
        """Return what makes identities for these settings."""

        def make(now: int) -> Identity:
            return new_identity(
                prepared.names,
                now=now,
                life_seconds=settings.keyset_life_seconds,
                software=self.software,
                settings=self.promises,
                simulated=self.simulated,
                operator=prepared.operator,
            )

        return make


def commit(
    settings: Settings, prepared: Prepared, services: Services, rotation: Rotation, forge: Forge
) -> Callable[[], None]:
    """Return what makes prepared settings take effect; the keys follow with the next rotation."""
    make, period = forge.maker(settings, prepared), rotation_period(settings)

    def change() -> None:
        services.replace(prepared.callers, prepared.published_policy)
        rotation.make, rotation.period_seconds = make, period
        set_level(settings.log_level)

    return change


def rotation_period(settings: Settings) -> float:
    """Return after how long keys are renewed: with a quarter of their life left, if nothing else is set."""
    return settings.keyset_rotation_seconds or settings.keyset_life_seconds * 3 / 4
