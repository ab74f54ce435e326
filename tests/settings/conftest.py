"""Settings that only the test sets."""

from typing import Any

import pytest

from mediaserver.settings import Settings, variable_of


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Any, monkeypatch: Any) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(variable_of(name), raising=False)
