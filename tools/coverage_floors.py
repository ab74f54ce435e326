"""Print the coverage of the last `make test`, and fail if it is below a package's floor."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from coverage import Coverage


# Percent of lines, and of branches. The pure packages have no excuse.
FLOORS = {
    "codecs/audiocodecs": 98,
    "mediaserver/protocol": 98,
    "mediaserver/call": 98,
    "mediaserver": 85,
}


@dataclass(frozen=True, slots=True)
class Covered:
    """Percent of a package's lines that ran, and of its branches' ways out that were taken."""

    lines: float
    branches: float

    @classmethod
    def of(cls, coverage: Coverage, folder: Path) -> Covered:
        """Read it from the data of the last run."""
        with tempfile.NamedTemporaryFile("r", suffix=".json", encoding="utf-8") as file:
            coverage.json_report(include=f"{folder}/*", outfile=file.name)
            totals = json.load(file)["totals"]
        return cls(
            _percent(totals["covered_lines"], totals["num_statements"]),
            _percent(totals["covered_branches"], totals["num_branches"]),
        )


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


def main() -> int:
    """Return the exit status."""
    root = Path(__file__).parent.parent
    coverage = Coverage(config_file=str(root / "pyproject.toml"), messages=False)
    coverage.load()
    failed = False
    for package, floor in FLOORS.items():
        covered = Covered.of(coverage, root / package)
        low = min(covered.lines, covered.branches) < floor
        failed = failed or low
        print(
            f"{package:<24}lines {covered.lines:5.1f} %  branches {covered.branches:5.1f} %"
            f"  floor {floor} %{'  TOO LOW' if low else ''}"
        )
    if failed:
        coverage.report()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
