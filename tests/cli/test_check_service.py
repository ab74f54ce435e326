import json
import re
from pathlib import Path

import pytest

from mediaserver.agents.services.known import KNOWN_SERVICES
from tests.cli.processes import Run


SERVICES = """
from mediaserver.agents.services import ServiceError
from mediaserver.agents.services.scripted import ScriptedModel

model = ScriptedModel([(".", "Hello.")])

class Broken:
    async def speak(self, text, format):
        raise ServiceError("mine", "the line is cut")
        yield
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    # Modules stay imported, so each test has one of its own.
    file = tmp_path / f"of_{tmp_path.name}.py"
    file.write_text(SERVICES)
    return str(file)


def test_the_stages_of_a_service_of_ones_own_are_printed(run: Run, own: str) -> None:
    result = run("check-service", f"{own}:model")
    assert result.exit_code == 0, result.stderr
    assert "first text" in result.stdout
    assert "ms after begin" in result.stdout


def test_the_stages_are_printed_as_json(run: Run, own: str) -> None:
    result = run("check-service", f"{own}:model", "--json")
    document = json.loads(result.stdout)
    assert document["ok"] is True
    (service,) = document["services"]
    assert service["error"] is None
    assert [each["name"] for each in service["stages"]] == ["first text", "whole answer"]


def test_a_service_that_fails_is_told_with_status_1(run: Run, own: str) -> None:
    result = run("check-service", f"{own}:Broken")
    assert result.exit_code == 1
    assert "FAILED  mine: the line is cut" in result.stdout


def test_a_missing_key_is_told_before_anything_is_used(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
    result = run("check-service", "deepgram")
    assert result.exit_code == 1
    assert "deepgram needs a key: set DEEPGRAM_API_KEY" in result.stderr


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "deepgramm",
            "there is no service 'deepgramm': did you mean 'deepgram'? known are openai,",
        ),
        ("no_such_module:Name", "there is no module 'no_such_module'"),
    ],
)
def test_a_name_that_is_wrong_is_told_with_status_2(run: Run, name: str, text: str) -> None:
    result = run("check-service", name)
    assert result.exit_code == 2
    assert text in result.stderr


def test_the_help_names_every_provider(run: Run) -> None:
    printed = set(re.findall(r"\w+", run("check-service", "--help").stdout))
    assert set(KNOWN_SERVICES) <= printed
