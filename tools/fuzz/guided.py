"""Fuzzing that is guided by the code which inputs reach, with atheris.

    python -m tools.fuzz.guided [--seconds N]

Inputs that reach new code are added to ``tests/fuzz/corpus``. Needs ``pip install --group fuzz``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path


try:
    import atheris
except ModuleNotFoundError:
    raise SystemExit("guided fuzzing needs atheris: pip install --group fuzz") from None

# Instruments what is imported within.
with atheris.instrument_imports(include=["mediaserver", "audiocodecs"]):
    from tools.fuzz.inputs import CORPUS, UPGRADE, seeds
    from tools.fuzz.target import SPLIT, FuzzTarget, keep


def main() -> None:
    """Run the command; libFuzzer ends the process, with a status of its own."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.fuzz.guided",
        description="Fuzz the whole server, guided by the code that inputs reach.",
    )
    parser.add_argument("--seconds", type=int, default=600, help="how long (default: %(default)s)")
    seconds: int = parser.parse_args().seconds
    if seconds < 1:
        # To libFuzzer, 0 means without end.
        parser.error(f"--seconds: must be 1 or more, not {seconds}")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    target = FuzzTarget()
    loop.run_until_complete(target.__aenter__())

    def try_one(data: bytes) -> None:
        loop.run_until_complete(target.send(data.split(SPLIT)))
        if target.crashes or target.hangs:
            path = keep(Path("fuzz-findings"), "guided", [data])
            raise RuntimeError(f"{path}: {[*target.crashes, *target.hangs]!r:.4000}")

    CORPUS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        begin = [*seeds(), *(UPGRADE + SPLIT + each for each in seeds())]
        for number, seed in enumerate(begin):
            keep(Path(folder), str(number), [seed])
        atheris.Setup(
            [sys.argv[0], str(CORPUS), folder, f"-max_total_time={seconds}", "-max_len=4096"],
            try_one,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
