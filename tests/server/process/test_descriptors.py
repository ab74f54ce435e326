import errno
import os
import resource
import subprocess
import sys
from typing import Any

import pytest
from structlog.testing import capture_logs

from mediaserver.server.process import descriptors
from mediaserver.server.process.descriptors import (
    ShortageLog,
    SpareDescriptors,
    descriptor_limit,
    is_one_free,
    most_waiting,
    needed_descriptors,
)


def fail_with(number: int) -> Any:
    def fail(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return fail


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    code = (
        "import resource; from mediaserver.server.process.descriptors import *;"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (60, 200));"
        "raise_descriptor_limit(); print(descriptor_limit())"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "200\n"


@pytest.mark.parametrize(
    ("soft", "hard", "asked"),
    [
        (1024, resource.RLIM_INFINITY, 1_048_576),
        (1024, 1 << 30, 1_048_576),
        (256, 4096, 4096),
        (4096, 4096, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, None),
    ],
)
def test_an_endless_limit_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, asked: int | None
) -> None:
    set_to = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits[0]))
    descriptors.raise_descriptor_limit()
    assert set_to == ([] if asked is None else [asked])


def test_a_limit_that_cannot_be_raised_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (60, 200))
    monkeypatch.setattr(resource, "setrlimit", fail_with(errno.EPERM))
    descriptors.raise_descriptor_limit()
    assert descriptor_limit() == 60


def test_idle_connections_get_at_most_a_quarter() -> None:
    assert most_waiting(1000, 65_536) == 1000
    assert most_waiting(1000, 1024) == 256
    assert most_waiting(1000, 8) == 4
    assert needed_descriptors(200, 256) > 456


def test_spare_descriptors_are_exchanged_one_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    spare = SpareDescriptors(2)
    assert is_one_free()
    with monkeypatch.context() as exhausted:
        exhausted.setattr(os, "open", fail_with(errno.EMFILE))
        assert not is_one_free()
        assert spare.take()
        spare.refill()
        assert spare.take()
        assert not spare.take()
    spare.refill()
    assert spare.take()
    spare.close()
    assert not spare.take()


def test_a_shortage_is_said_once_a_minute() -> None:
    now = 100.0
    shortage = ShortageLog(lambda: now)
    with capture_logs() as logged:
        for second in (0, 30, 59, 60, 90):
            now = 100.0 + second
            shortage.note("Too many open files", failures=second)
    assert [line["failures"] for line in logged] == [0, 60]
    assert "ulimit" in logged[0]["hint"]
