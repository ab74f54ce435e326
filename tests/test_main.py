import os
import subprocess
import sys

import pytest

import mediaserver
from mediaserver import __version__


def test_python_dash_m_is_the_command() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "mediaserver", "version"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert result.stdout == f"{__version__}\n"
    assert result.stderr == ""


@pytest.mark.parametrize("module", ["typer", "numpy"], ids=["of all commands", "of one command"])
def test_an_interruption_while_modules_are_imported_is_quiet(module: str) -> None:
    code = (
        "import os, signal, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from mediaserver.__main__ import launch\n"
        f"assert {module!r} not in sys.modules\n"
        "launch()\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "call", "ws://127.0.0.1:9"],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
    )
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


def test_every_public_name_is_found() -> None:
    assert set(mediaserver.__all__) <= set(dir(mediaserver))
    for name in mediaserver.__all__:
        assert getattr(mediaserver, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        mediaserver.Nothing  # noqa: B018
