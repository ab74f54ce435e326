from pathlib import Path
from typing import Any

import pytest

from mediaserver import __version__
from tests.cli.processes import Run


def test_the_demo_writes_where_it_is_told_and_its_status_is_that_of_the_command(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, bool]] = []

    def held(output: Path, *, as_json: bool) -> int:
        seen.append((output, as_json))
        return 1

    monkeypatch.setattr("mediaserver.demo.run", held)
    assert run("demo", "--output", "there", "--json").exit_code == 1
    assert seen == [(Path("there"), True)]


def test_a_demo_without_its_packages_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.__import__", _importing_without("matplotlib"))
    result = run("demo")
    assert result.exit_code == 1
    assert "the demo needs matplotlib: pip install '.[demo]'" in result.stderr


def _importing_without(package: str) -> Any:
    real = __import__

    def importing(name: str, *more: Any, **options: Any) -> Any:
        if name == "mediaserver.demo":
            raise ModuleNotFoundError(name=package)
        return real(name, *more, **options)

    return importing


def test_version_prints_the_version(run: Run) -> None:
    result = run("version")
    assert result.exit_code == 0
    assert result.stdout == f"{__version__}\n"
