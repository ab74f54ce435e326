import builtins
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from mediaserver.server.process.reload import ReloadError, run_reloading


def test_without_watchfiles_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any, **options: Any) -> Any:
        if name == "watchfiles":
            raise ModuleNotFoundError(name="watchfiles")
        return real(name, *more, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ReloadError, match=r"pip install '\.\[reload\]'"):
        run_reloading(["true"], tmp_path)


def test_the_command_is_watched_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    watchfiles = pytest.importorskip("watchfiles")
    seen: dict[Any, Any] = {}
    monkeypatch.setattr(
        watchfiles, "run_process", lambda *paths, **options: seen.update(options, paths=paths)
    )
    run_reloading([sys.executable, "-m", "mediaserver", "serve", "a b:C"], tmp_path)
    assert seen["paths"] == (tmp_path,)
    assert seen["target"] == f"{sys.executable} -m mediaserver serve 'a b:C'"
    assert seen["target_type"] == "command"
    takes = seen["watch_filter"]
    assert takes(watchfiles.Change.modified, str(tmp_path / "agent.py"))
    assert takes(watchfiles.Change.modified, str(tmp_path / "mediaserver.toml"))
    assert not takes(watchfiles.Change.modified, str(tmp_path / "out.wav"))


def test_a_closed_terminal_ends_it_as_sigterm_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    watchfiles = pytest.importorskip("watchfiles")
    taken = []

    def run_process(*paths: Any, **options: Any) -> None:
        before = signal.signal(signal.SIGTERM, lambda number, _: taken.append(number))
        signal.raise_signal(signal.SIGHUP)
        signal.signal(signal.SIGTERM, before)

    monkeypatch.setattr(watchfiles, "run_process", run_process)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        run_reloading(["true"], tmp_path)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    assert taken == [signal.SIGTERM]
