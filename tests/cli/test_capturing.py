from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from mediaserver.captures.capture_folder import CaptureFolder
from mediaserver.cli import app


def capture(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["capture", *arguments])


def test_a_number_is_asked_for(tmp_path: Path) -> None:
    folder = CaptureFolder(tmp_path / "calls")
    folder.prepare()
    done = capture("+14155550100", "--capture", str(folder.path))
    assert (done.exit_code, done.stdout) == (
        0,
        f"the next call from or to +14155550100 is captured to {folder.path}\n",
    )
    folder.look()
    assert folder.claim(["+14155550100"])


def test_the_folder_may_be_in_the_servers_settings(tmp_path: Path) -> None:
    CaptureFolder(tmp_path / "calls").prepare()
    config = tmp_path / "mediaserver.toml"
    config.write_text(f'capture = "{tmp_path / "calls"}"\n')
    assert capture("+14155550100", "--config", str(config)).exit_code == 0


def test_without_a_folder_it_says_what_to_give() -> None:
    done = capture("+14155550100")
    assert (done.exit_code, "--capture DIR" in done.stderr) == (2, True)


def test_a_folder_that_no_server_has_made_is_an_error(tmp_path: Path) -> None:
    done = capture("+14155550100", "--capture", str(tmp_path / "none"))
    assert (done.exit_code, "is no folder of captures" in done.stderr) == (1, True)


def test_something_else_than_a_number_is_an_error(tmp_path: Path) -> None:
    done = capture("../x", "--capture", str(tmp_path))
    assert (done.exit_code, "neither a phone number nor" in done.stderr) == (2, True)
