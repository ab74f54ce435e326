"""``doctor``: whether a server can take calls here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mediaserver.cli.application import fail
from mediaserver.cli.printable import printable_json
from mediaserver.cli.setting_options import signature_with_settings
from mediaserver.settings import SettingsError, load_settings, unknown_variables


if TYPE_CHECKING:
    from mediaserver.doctor.examination import Diagnosis


def doctor_command(**options: Any) -> None:
    """Find out whether calls can reach the server, and say how to mend what is wrong.

    Give it what `serve` is given: the same handlers, options, environment and TOML file. It looks
    at the machine, and asks the server at its public URL, Plivo's API, Redis and the services of
    the handlers. It changes nothing. Run it beside the server, and from outside of its network.

    The exit status is 0 if nothing is wrong, 1 if something is, and 2 if an argument is wrong.
    """
    specs: list[str] = options.pop("spec") or []
    config: Path | None = options.pop("config")
    as_json: bool = options.pop("json")
    numbers: list[str] = options.pop("number") or []

    from mediaserver.plivo.numbers import digits

    for number in numbers:
        if digits(number) is None:
            fail(f"--number is a phone number such as +14155550100, not {number[:60]!r}", 2)
    try:
        settings = load_settings({**options, "handler": tuple(specs) or None}, config)
    except SettingsError as error:
        fail(str(error), 2)

    from mediaserver.containment import run_contained
    from mediaserver.doctor.examination import diagnose
    from mediaserver.doctor.subject import Subject
    from mediaserver.telemetry.logs import configure_logs

    for warning in unknown_variables():
        typer.echo(f"mediaserver: {warning}", err=True)
    # What is wrong is printed as a result.
    configure_logs("critical", settings.log_format)

    async def look() -> list[Diagnosis]:
        diagnoses = []
        async for diagnosis in diagnose(Subject.of(settings, tuple(numbers))):
            diagnoses.append(diagnosis)
            if not as_json:
                _print(diagnosis)
        return diagnoses

    diagnoses = run_contained(look())
    statuses = [each.finding.status for each in diagnoses]
    is_well = "failed" not in statuses
    if as_json:
        checks = [
            {"name": each.name, **each.finding._asdict(), "seconds": round(each.seconds, 3)}
            for each in diagnoses
        ]
        text = json.dumps({"ok": is_well, "checks": checks}, indent=2, ensure_ascii=False)
        typer.echo(printable_json(text))
    else:
        counts = (f"{statuses.count(each)} {each}" for each in ("ok", "failed", "skipped"))
        typer.echo(f"\n{', '.join(counts)}")
    raise typer.Exit(0 if is_well else 1)


def _print(diagnosis: Diagnosis) -> None:
    finding = diagnosis.finding
    status = "FAILED" if finding.status == "failed" else finding.status
    typer.echo(f"{status:8} {diagnosis.name:24} {finding.detail}")
    if finding.remedy:
        typer.echo(f"{'':8} {'':24} to mend it: {finding.remedy}")


doctor_command.__signature__ = signature_with_settings(  # type: ignore[attr-defined]
    "look at",
    number=(
        list[str] | None,
        typer.Option(
            "--number",
            metavar="NUMBER",
            help="Phone number whose configuration at Plivo is looked at; may be repeated. By"
            " default those of the routes.",
        ),
    ),
    json=(bool, typer.Option("--json", help="Print the results as JSON.")),
)
