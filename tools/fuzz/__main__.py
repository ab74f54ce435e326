"""Fuzz the whole server over sockets.

    python -m tools.fuzz [--inputs N] [--seconds N] [--seed N] [--connections N]

Inputs are requests, frames and messages, changed at random, and garbage; each piece that is written
to a connection counts as one. Many connections are open at a time, beside an honest call. A crash
is an exception that nobody took, an error that the server logs, or its end; a hang is a connection
that the server does not end; harm is a difference in the honest call, or a long gap. What is found
is written to ``fuzz-findings/``; the status is then 1. The seed also decides whether the server
checks signatures (most inputs are then signed), resumes calls and records them: eight seeds in a
row try each combination.

`python -m tools.fuzz.guided` chooses inputs by the code that they reach.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tools.fuzz.honest_call import LONGEST_GAP, HonestCall
from tools.fuzz.inputs import Mutator, kept_inputs
from tools.fuzz.target import FuzzTarget, keep
from tools.fuzz.target_settings import settings_of


FINDINGS: Final = Path("fuzz-findings")


async def fuzz(
    inputs: int,
    seconds: float,
    seed: int,
    connections: int,
    findings: Path = FINDINGS,
    longest_gap: float = LONGEST_GAP,
) -> FuzzTarget:
    """Fuzz until one of the limits is reached or something is found; print how it went."""
    began, used = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(seed, Path(folder))
        async with FuzzTarget(**settings) as target:
            call = HonestCall(target.port, longest_gap)
            calling = asyncio.create_task(call.run())

            async def send(number: int) -> None:
                mutator = Mutator(
                    seed * 1000 + number, kept_inputs(), signs="auth_token" in settings
                )
                while target.inputs < inputs and time.monotonic() - began < seconds:
                    pieces = mutator.pieces()
                    crashes = len(target.crashes)
                    await target.send(pieces)
                    if len(target.crashes) > crashes:
                        # One of those that were sent at the same time.
                        keep(findings, f"crash-seed{seed}-{number}", pieces)
                    if target.crashes or target.hangs or call.harm:
                        return

            await asyncio.gather(*map(send, range(connections)))
            call.end()
            await calling
            if call.harm:
                target.crashes.append(f"the honest call was harmed: {call.harm}")
    for index, hang in enumerate(target.hangs):
        keep(findings, f"hang-seed{seed}-{index}", hang)
    keep(findings, f"slowest-seed{seed}", target.slowest[1])
    cpu = time.process_time() - used
    print(
        f"{target.inputs} inputs on {target.connections} connections in"
        f" {time.monotonic() - began:.0f} s ({cpu:.0f} s of CPU), seed {seed}:"
        f" {len(target.crashes)} crashes, {len(target.hangs)} hangs, no connection longer than"
        f" {target.slowest[0]:.1f} s;"
        f" an honest call of {call.seconds:.0f} s beside them was"
        f" {'harmed' if call.harm else 'not harmed'}; its longest gap was {call.gap:.2f} s"
    )
    return target


def main() -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz", description="Fuzz the server.")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--connections", type=int, default=16)
    options = parser.parse_args()
    target = asyncio.run(fuzz(options.inputs, options.seconds, options.seed, options.connections))
    for each in target.crashes:
        print(f"crash: {each}", file=sys.stderr)
    for hang in target.hangs:
        print(f"hang: {hang!r:.500}", file=sys.stderr)
    return 1 if target.crashes or target.hangs else 0


if __name__ == "__main__":
    sys.exit(main())
