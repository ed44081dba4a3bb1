"""A settings file, and what loading it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from blindai.errors import UsageError
from blindai.server.settings import Loaded, load_settings

KEY_ID = "5e" * 32


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Loaded]:
    """Load a text as blindai.toml, with an environment and flags."""

    def loaded(
        text: str = "",
        environment: Mapping[str, str] | None = None,
        flags: Mapping[str, Any] | None = None,
        models: Sequence[str] = (),
    ) -> Loaded:
        path = tmp_path / "blindai.toml"
        path.write_text(text, encoding="utf-8")
        return load_settings(path, environment or {}, flags or {}, models=models)

    return loaded


@pytest.fixture
def refusal(load: Callable[..., Loaded]) -> Callable[..., str]:
    """Load the same, and return why that was refused."""

    def refused(*given: Any, **named: Any) -> str:
        with pytest.raises(UsageError) as caught:
            load(*given, **named)
        return f"{caught.value} | {caught.value.hint}"

    return refused
