import subprocess
import sys

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
