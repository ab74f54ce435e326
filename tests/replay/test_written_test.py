import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mediaserver.agents import Echo
from mediaserver.replay.written_test import write_test
from tests.replay.captured import captured, two_seconds


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return captured(tmp_path / "captures", Echo, two_seconds)


def test_the_test_passes_with_the_code_of_then(tmp_path: Path, capture: Path) -> None:
    path = tmp_path / "tests" / "test_a_call.py"
    copy = write_test(path, capture, "mediaserver.agents:Echo", title='a "quoted" call')
    assert copy.read_bytes() == capture.read_bytes()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("handler", ["my_agent.py:Agent", "agents", "agents:", ":Agent"])
def test_a_handler_that_a_test_cannot_import_is_refused(
    tmp_path: Path, capture: Path, handler: str
) -> None:
    with pytest.raises(ValueError, match="imports its handler as package"):
        write_test(tmp_path / "test_a_call.py", capture, handler, title="a call")


def test_nothing_is_overwritten(tmp_path: Path, capture: Path) -> None:
    (tmp_path / "test_a_call.py").write_text("")
    with pytest.raises(FileExistsError):
        write_test(tmp_path / "test_a_call.py", capture, "mediaserver.agents:Echo", title="a")
    (tmp_path / capture.name).write_text("")
    with pytest.raises(FileExistsError):
        write_test(tmp_path / "test_other.py", capture, "mediaserver.agents:Echo", title="a")


def test_two_tests_may_be_made_of_one_capture(tmp_path: Path, capture: Path) -> None:
    paths = [tmp_path / f"test_{name}.py" for name in ("one", "other")]
    copies = {write_test(path, capture, "mediaserver.agents:Echo", title="a") for path in paths}
    assert copies == {tmp_path / capture.name}


def test_the_copy_of_a_capture_can_be_read_by_nobody_else(tmp_path: Path, capture: Path) -> None:
    copy = write_test(tmp_path / "test_a.py", capture, "mediaserver.agents:Echo", title="a")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600


def test_a_capture_beside_the_test_stays_where_it_is(capture: Path) -> None:
    path = capture.with_name("test_a_call.py")
    assert write_test(path, capture, "mediaserver.agents:Echo", title="a") == capture


def test_a_name_with_quotes_is_written_as_it_is(tmp_path: Path, capture: Path) -> None:
    odd = capture.rename(capture.with_name('a "call".wire.zst'))
    path = tmp_path / "tests" / "test_a_call.py"
    write_test(path, odd, "mediaserver.agents:Echo", title="a")
    names: dict[str, object] = {"__file__": str(path)}
    exec(compile(path.read_text(), path, "exec"), names)
    assert names["CAPTURE"] == path.with_name(odd.name)


@pytest.mark.parametrize(
    ("tolerance", "written"), [(0.0, "(CAPTURE, Echo)"), (0.02, "(CAPTURE, Echo, tolerance=0.02)")]
)
def test_a_tolerance_is_written(
    tmp_path: Path, capture: Path, tolerance: float, written: str
) -> None:
    path = tmp_path / "test_a_call.py"
    write_test(path, capture, "mediaserver.agents:Echo", title="a", tolerance=tolerance)
    assert f"replayed{written}\n" in path.read_text()
