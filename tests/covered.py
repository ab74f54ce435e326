"""A pytest plugin that measures branch coverage, for a fraction of what a tracer costs.

It does so if the environment variable COVERED names the file for the result, as `make test` has it;
tools/coverage_floors.py reads that file. The measure instruments the modules of the project as they
are imported, so nothing may import them before this plugin.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

import pytest
import slipcover
from slipcover import Slipcover, merge_coverage


ROOT = Path(__file__).parent.parent
# How often what was seen is met again before the measure is taken out of all that was seen: that
# walks through all functions, and takes as long as two million meetings.
MEETINGS = 20_000
SOURCES = [str(ROOT / "mediaserver"), str(ROOT / "codecs" / "audiocodecs")]
MEASURED = {Path(source).name for source in SOURCES}


class Loader(SourceFileLoader):
    """Loads a module so that what runs in it is measured.

    The code with its branches marked is kept as Python keeps bytecode: to mark them takes half of
    the time, and each process of a run would do so again.
    """

    measure: Slipcover

    def exec_module(self, module: ModuleType) -> None:
        """Run the module."""
        self.measure.register_module(module)
        exec(self.measure.instrument(self.get_code(module.__name__)), module.__dict__)

    def source_to_code(  # type: ignore[override] # a method, but for its declaration
        self, data: Any, path: Any, fullname: Any = None, **more: Any
    ) -> CodeType:
        """Return the code, with its branches marked."""
        code: CodeType = compile(
            slipcover.branch.preinstrument(ast.parse(data)), path, "exec", dont_inherit=True
        )
        return code

    def get_data(self, path: str) -> bytes:
        """Read a source, or what was kept of it."""
        return super().get_data(_kept(path))

    def set_data(self, path: str, data: Any, **options: Any) -> None:
        """Keep the code of a source."""
        super().set_data(_kept(path), data, **options)


def _kept(path: str) -> str:
    stem, _, suffix = path.rpartition(".")
    return f"{stem}.slipcover-{slipcover.__version__}.pyc" if suffix == "pyc" else path


class Finder(MetaPathFinder):
    """Finds the modules of the project for the measure."""

    def __init__(self, measure: Slipcover) -> None:
        self._measure = measure

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module, if it is measured."""
        if name.partition(".")[0] not in MEASURED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
            spec.loader.measure = self._measure
        return spec


class Coverage:
    """What has run in this process and, at the end, in the workers of pytest-xdist."""

    def __init__(self, result: Path) -> None:
        self._result = result
        self._measure = Slipcover(branch=True, source=SOURCES, d_miss_threshold=MEETINGS)
        self._finder = Finder(self._measure)
        sys.meta_path.insert(0, self._finder)
        self._workers: list[dict[str, Any]] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker measured."""
        if "coverage" in getattr(node, "workeroutput", {}):
            self._workers.append(json.loads(node.workeroutput["coverage"]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the result over, or write it."""
        sys.meta_path.remove(self._finder)
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["coverage"] = json.dumps(self._measure.get_coverage())
            return
        # Workers have run all that their controller has, and read the modules that nobody imported.
        whole, *others = self._workers or [self._measure.get_coverage()]
        for other in others:
            merge_coverage(whole, other)
        self._result.write_text(json.dumps(whole), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Register the measure that runs since the import."""
    if _COVERAGE:
        config.pluginmanager.register(_COVERAGE, "coverage")


_COVERAGE = Coverage(Path(os.environ["COVERED"])) if os.environ.get("COVERED") else None
