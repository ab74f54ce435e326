"""Print the coverage of the last test run, and fail where it is under a package's floor."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from coverage import Coverage


# Percent of branches and lines. The pure packages have no excuse.
FLOORS = {
    "codecs/audiocodecs": 98,
    "mediaserver/protocol": 98,
    "mediaserver/call": 98,
    "mediaserver": 85,
}


def main() -> int:
    """Return the exit status."""
    root = Path(__file__).parent.parent
    coverage = Coverage(config_file=str(root / "pyproject.toml"))
    coverage.load()
    failed = False
    for package, floor in FLOORS.items():
        percent = coverage.report(include=f"{root / package}/*", file=io.StringIO())
        low = percent < floor
        failed = failed or low
        print(f"{package:<24}{percent:6.1f} %  floor {floor} %{'  TOO LOW' if low else ''}")
    if failed:
        coverage.report()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
