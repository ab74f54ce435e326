"""Check that each module is covered by a test file of its own, as `make own` saw it.

`mediaserver/call/turn.py` is tested by `tests/call/test_turn.py`. That file alone must run most of
the lines in the functions of the module; what the module does when it is imported counts for
nothing. A module without functions needs no test file.

    python -m tools.own_tests [--all]
"""

from __future__ import annotations

import argparse
import ast
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from coverage import Coverage


ROOT = Path(__file__).parent.parent
FLOOR = 75
"""Percent of the lines in functions."""

EXCEPTIONS: dict[str, str] = {
    "mediaserver/agents/conversing/served.py": "services fail in test_voice_agent.py",
    "mediaserver/agents/prompts.py": "test_player.py and test_menu.py play prompts",
    "mediaserver/agents/recording/recording.py": "test_recorder.py records whole calls",
    "mediaserver/agents/services/deepgram/listening_session.py": "test_nova.py, test_flux.py",
    "mediaserver/agents/services/gemini/live_session.py": "test_live.py opens sessions",
    "mediaserver/agents/services/openai/realtime_session.py": "test_realtime.py opens sessions",
    "mediaserver/agents/services/xai/realtime_session.py": "test_realtime.py opens sessions",
    "mediaserver/agents/turns/detector.py": "a protocol; test_cascade.py and others implement it",
    "mediaserver/cli/account.py": "dialling needs a whole sandbox: outbound/test_placing.py",
    "mediaserver/demo/agent.py": "the demo's call is made once for all tests of the demo",
    "mediaserver/demo/scene.py": "the demo's call is made once for all tests of the demo",
    "mediaserver/espeak.py": "speech is kept, so whichever test speaks first makes it",
    "mediaserver/records/migrations/versions/0001_calls.py": "test_migrating.py",
    "mediaserver/records/migrations/versions/0002_costs.py": "test_migrating.py",
    "mediaserver/sandbox/api/live_calls.py": "calls/test_recordings.py uses its recordings",
    "mediaserver/sandbox/api/routing.py": "every test of the API goes through it",
    "mediaserver/sandbox/errors.py": "phone/test_phone.py raises its errors",
    "mediaserver/sandbox/records/billing.py": "calls/test_documents.py is billed",
    "mediaserver/testing/contract/service.py": "the tests of each kind of contract run it",
    "mediaserver/testing/assemblyai/server.py": "assemblyai/test_recognizer.py uses it",
    "mediaserver/testing/deepgram/server.py": "test_nova.py, test_flux.py and test_aura.py use it",
    "mediaserver/testing/xai/realtime.py": "xai/test_realtime.py opens sessions on it",
}
"""Modules that the named tests of other modules cover, and why."""

_REDIS = "mediaserver/server/fleet/"
"""Needs a Redis server, without which its tests are left out."""

_ENTRANCES = {"__init__", "__main__"}  # say what a package exports, and what it runs


def modules() -> Iterator[tuple[Path, Path]]:
    """Yield each module, and the test file that should be its own."""
    for root, tests in (
        (ROOT / "mediaserver", ""),
        (ROOT / "codecs" / "audiocodecs", "audiocodecs"),
    ):
        for path in sorted(root.rglob("*.py")):
            if path.stem in _ENTRANCES:
                continue
            folder = ROOT / "tests" / tests / path.parent.relative_to(root)
            yield path, folder / f"test_{path.name}"


def in_functions(path: Path) -> set[int]:
    """Return the lines of the bodies of functions."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines.update(range(node.body[0].lineno, (node.end_lineno or 0) + 1))
    return lines


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="own_tests", description="What own test files cover.")
    parser.add_argument("--all", action="store_true", help="list every module")
    chosen = parser.parse_args()
    coverage = Coverage(config_file=str(ROOT / "pyproject.toml"), messages=False)
    coverage.load()
    data = coverage.get_data()
    failed = False
    for path, test in modules():
        _, statements, _, _, _ = coverage.analysis2(str(path))
        wanted = in_functions(path).intersection(statements)
        own = test.relative_to(ROOT).as_posix()
        # What runs at import, before any test, is covered by all of them.
        ran = {
            line
            for line, contexts in data.contexts_by_lineno(str(path)).items()
            if own in contexts or "" in contexts
        }
        percent = 100 * len(wanted & ran) / len(wanted) if wanted else 100
        module = path.relative_to(ROOT).as_posix()
        left_out = module.startswith(_REDIS) and shutil.which("redis-server") is None
        low = percent < FLOOR and module not in EXCEPTIONS and not left_out
        failed = failed or low
        if low or chosen.all:
            missing = "" if test.exists() or not wanted else "  has no"
            print(f"{percent:5.1f} % of {len(wanted):4} lines  {module}{missing}  {own}")
    if not failed:
        print("every module is covered by a test file of its own")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
