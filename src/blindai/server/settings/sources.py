"""Where the settings come from: defaults, then the file, then the environment, then the command line.

Whatever comes later wins, key by key. No file is read that was not named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blindai.errors import UsageError
from blindai.server.settings import file as settings_file
from blindai.server.settings.entries import ModelSettings
from blindai.server.settings.file import Contents, Given
from blindai.server.settings.key import Key
from blindai.server.settings.settings import Settings
from blindai.server.settings.tables import KEYS
from blindai.server.settings.unknown import unknown_dotted, unknown_variable
from blindai.server.settings.values import from_text, from_value

DEFAULT = "default"
COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Loaded:
    """The settings, and where each came from: by `table.key`, and by `callers[0]`, `models[0]`, `jwt`."""

    settings: Settings
    origin: Mapping[str, str]


def load_settings(
    file: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any], *, models: Sequence[str] = ()
) -> Loaded:
    """Return the settings of all sources. Raises UsageError with the place of what is wrong.

    `flags` are by `table.key`; a text stands for a value as it does in the environment. `models` are paths
    of models, which are added to those of the file.
    """
    contents = settings_file.read(file) if file else Contents()
    given = {
        **{key.dotted: Given(getattr(_DEFAULTS, key.field), DEFAULT) for key in KEYS},
        **contents.values,
        **dict(_from_environment(environment)),
        **dict(_from_flags(flags)),
    }
    all_models = (*contents.models, *(Given(ModelSettings(path=path), COMMAND_LINE) for path in models))
    settings = Settings(
        **{key.field: given[key.dotted].value for key in KEYS},
        callers=tuple(caller.value for caller in contents.callers),
        models=tuple(model.value for model in all_models),
        jwt=contents.jwt.value if contents.jwt else None,
    )
    origin = {dotted: value.origin for dotted, value in given.items()}
    origin |= {f"callers[{position}]": caller.origin for position, caller in enumerate(contents.callers)}
    origin |= {f"models[{position}]": model.origin for position, model in enumerate(all_models)}
    origin |= {"jwt": contents.jwt.origin} if contents.jwt else {}
    return Loaded(settings, origin)


def _from_environment(environment: Mapping[str, str]) -> Iterator[tuple[str, Given]]:
    for variable, value in environment.items():
        unknown = unknown_variable(variable, value)
        if unknown:
            raise UsageError(unknown, hint=_hint(variable, value))
    for key in KEYS:
        text = environment.get(key.variable)
        if text is not None:
            try:
                yield key.dotted, Given(from_text(key, text), key.variable)
            except ValueError as exc:
                raise UsageError(f"{key.variable} {exc}", hint=_hint(key.variable, text)) from exc


def _hint(variable: str, value: str) -> str:
    # Of a service called blindai-server, Kubernetes makes BLINDAI_SERVER_PORT=tcp://10.0.0.1:9924 and others.
    is_a_service = "_SERVICE_" in variable or "://" in value
    return "if Kubernetes set it, set enableServiceLinks to false in the pod" if is_a_service else ""


def _from_flags(flags: Mapping[str, Any]) -> Iterator[tuple[str, Given]]:
    known = {key.dotted: key for key in KEYS}
    for dotted, value in flags.items():
        if dotted not in known:
            raise UsageError(unknown_dotted(dotted))
        yield dotted, Given(_flag(known[dotted], value), COMMAND_LINE)


def _flag(key: Key, value: Any) -> Any:
    try:
        return from_text(key, value) if isinstance(value, str) else from_value(key, value)
    except ValueError as exc:
        raise UsageError(f"{key.dotted} {exc}") from exc


_DEFAULTS = Settings()
