"""Check what a change touches, in seconds: `make quick`.

Takes the files that differ from where the branch left main, committed or not: lints them, and runs
the tests that mirror them. `make test` runs the rest.

    python -m tools.quick [BASE]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"


def changed(base: str) -> list[Path]:
    """Return the files that differ from where this branch left `base`, or are new."""
    fork = _git("merge-base", "HEAD", base)[0]
    names = _git("diff", "--name-only", fork) + _git("ls-files", "--others", "--exclude-standard")
    return [ROOT / name for name in names if (ROOT / name).exists()]


def _git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def tests_of(path: Path) -> Path | None:
    """Return the tests that mirror a file: a file of tests, or the nearest folder of them."""
    inside = path.relative_to(ROOT)
    match inside.parts:
        case ("tests", *_):
            if path.name.startswith("test_"):
                return path
            return path.parent if path.name == "conftest.py" and path.parent != TESTS else None
        case ("mediaserver", *folders, name):
            mirror = TESTS.joinpath(*folders)
        case ("codecs", *folders, name):
            mirror = TESTS.joinpath(*folders)
        case ("examples", "services", "own_voice.py"):
            return TESTS / "test_own_voice.py"
        case ("examples", "services", *_):
            return TESTS / "agents" / "test_service_examples.py"
        case ("examples", *_):
            return TESTS / "test_examples.py"
        case _:
            return TESTS / "test_docs.py" if path.suffix == ".md" else None
    if path.suffix != ".py":
        return None
    if (mirror / f"test_{name}").exists():
        return mirror / f"test_{name}"
    return mirror if mirror.exists() and mirror != TESTS else None


def _run(module: str, *arguments: str, paths: Iterable[Path]) -> bool:
    names = [str(path.relative_to(ROOT)) for path in paths]
    if not names:
        return True
    print(f"{module} {' '.join([*arguments, *names])}", flush=True)
    command = [sys.executable, "-m", module, *arguments, *names]
    return subprocess.run(command, cwd=ROOT).returncode == 0


def main() -> int:
    """Return the exit status."""
    paths = changed(*(sys.argv[1:] or ["main"]))
    python = [path for path in paths if path.suffix == ".py"]
    tests = {test for test in map(tests_of, paths) if test}
    # A folder holds the files in it.
    tests = {test for test in tests if not tests.intersection(test.parents)}
    passed = [
        _run("ruff", "check", paths=python),
        _run("ruff", "format", "--check", paths=python),
        _run("pytest", "-q", paths=sorted(tests)),
    ]
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main())
