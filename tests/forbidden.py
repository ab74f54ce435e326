"""A path that this user may not reach, also where the tests run as root."""

import os
from pathlib import Path
from typing import Any

import pytest


def forbid(monkeypatch: pytest.MonkeyPatch, forbidden: Path) -> None:
    """Have the system refuse what is asked of a path."""
    known = Path.stat

    def stat(path: Path, **options: Any) -> os.stat_result:
        if path == forbidden:
            raise PermissionError(13, "Permission denied", str(path))
        return known(path, **options)

    monkeypatch.setattr(Path, "stat", stat)
