"""``--threshold``: what the report of ``call`` and ``load`` must come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mediaserver.cli.application import fail


if TYPE_CHECKING:
    from mediaserver.sandbox.phone.threshold import Threshold

Thresholds = Annotated[
    list[str] | None,
    typer.Option(
        "--threshold",
        metavar="FIGURE<NUMBER",
        help="End with exit status 1 unless this figure of the report is so, such as "
        "replies.p99<1.5 or unanswered==0; 'help' lists the figures. May be repeated.",
    ),
]


def parse_thresholds(texts: Sequence[str] | None, figures: Sequence[str]) -> list[Threshold]:
    """Parse the values of `--threshold`; for `help`, list the figures and exit."""
    from mediaserver.sandbox.phone.threshold import Threshold

    if texts and list(texts) == ["help"]:
        typer.echo("\n".join(figures))
        raise typer.Exit
    try:
        return [Threshold.parse(text, figures) for text in texts or ()]
    except ValueError as error:
        fail(str(error), 2)


def met_thresholds(demanded: Sequence[Threshold], figures: Mapping[str, float | None]) -> bool:
    """Tell on stderr what each threshold came to; return whether all hold."""
    for threshold in demanded:
        found = figures[threshold.figure]
        verdict = "holds" if threshold.holds(found) else "FAILS"
        value = "it was not measured" if found is None else f"it is {found:.6g}"
        typer.echo(f"threshold {threshold}  {verdict}: {value}", err=True)
    return all(threshold.holds(figures[threshold.figure]) for threshold in demanded)
