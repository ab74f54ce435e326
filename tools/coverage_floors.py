"""Print the coverage of the last `make test`, and fail if it is below a package's floor.

python -m tools.coverage_floors FILE
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any


# Percent of lines, and of branches. The pure packages have no excuse.
FLOORS = {
    "codecs/audiocodecs": 98,
    "mediaserver/protocol": 98,
    "mediaserver/call": 98,
    "mediaserver": 85,
}


def covered(files: dict[str, Any], folder: str) -> tuple[float, float]:
    """Return the percent of a folder's lines that ran, and of its branches that were taken."""
    total: Counter[str] = Counter()
    for name, file in files.items():
        if name.startswith(f"{folder}/"):
            total.update({what: file["summary"][what] for what in _COUNTED})
    return (
        _percent(total["covered_lines"], total["missing_lines"]),
        _percent(total["covered_branches"], total["missing_branches"]),
    )


_COUNTED = ("covered_lines", "missing_lines", "covered_branches", "missing_branches")


def _percent(part: int, rest: int) -> float:
    return 100 * part / (part + rest) if part else 0.0


def main() -> int:
    """Return the exit status."""
    files = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["files"]
    failed = False
    for package, floor in FLOORS.items():
        lines, branches = covered(files, package)
        low = min(lines, branches) < floor
        failed = failed or low
        print(
            f"{package:<24}lines {lines:5.1f} %  branches {branches:5.1f} %"
            f"  floor {floor} %{'  TOO LOW' if low else ''}"
        )
    if failed:
        for name, file in sorted(files.items()):
            if missing := file["missing_lines"]:
                print(f"{name}: {', '.join(map(str, missing))}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
