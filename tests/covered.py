"""A pytest plugin that measures branch coverage, for a fraction of what a tracer costs.

It does so if the environment variable COVERED names the file for the result, as `make test` has it;
tools/coverage_floors.py reads that file. The measure instruments the modules of the project as they
are imported, so nothing may import them before this plugin.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from slipcover import FileMatcher, ImportManager, Slipcover, merge_coverage


ROOT = Path(__file__).parent.parent
# How often what was seen is met again before the measure is taken out of all that was seen: that
# walks through all functions, and takes as long as two million meetings.
MEETINGS = 20_000
SOURCES = [str(ROOT / "mediaserver"), str(ROOT / "codecs" / "audiocodecs")]


class Coverage:
    """What has run in this process and, at the end, in the workers of pytest-xdist."""

    def __init__(self, result: Path) -> None:
        self._result = result
        self._measure = Slipcover(branch=True, source=SOURCES, d_miss_threshold=MEETINGS)
        self._imports = ImportManager(self._measure, FileMatcher(sources=SOURCES))
        self._imports.__enter__()
        self._workers: list[dict[str, Any]] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker measured."""
        if "coverage" in getattr(node, "workeroutput", {}):
            self._workers.append(json.loads(node.workeroutput["coverage"]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the result over, or write it."""
        self._imports.__exit__(None, None, None)
        own = self._measure.get_coverage()
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["coverage"] = json.dumps(own)
            return
        for other in self._workers:
            merge_coverage(own, other)
        self._result.write_text(json.dumps(own), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Register the measure that runs since the import."""
    if _COVERAGE:
        config.pluginmanager.register(_COVERAGE, "coverage")


_COVERAGE = Coverage(Path(os.environ["COVERED"])) if os.environ.get("COVERED") else None
