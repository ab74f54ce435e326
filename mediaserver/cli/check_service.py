"""``check-service``: one real use of a provider's services, with the time that each stage took."""

from __future__ import annotations

import asyncio
import json
import os
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from mediaserver.cli.application import fail
from mediaserver.cli.printable import printable_json


def check_service_command(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="openai, azure, deepgram, gemini, elevenlabs, cartesia, sarvam, xai, anthropic,"
            " assemblyai, espeak or pocketsphinx; or package.module:Name of a service of your own,"
            " or of a function that makes it.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Use each service of a provider once, with your key, and print how long each stage took.

    A voice speaks a sentence, a recogniser hears one, a model answers one, and a realtime model
    says hello. The provider charges for that. The key is taken from the provider's variable, such
    as DEEPGRAM_API_KEY.

    The exit status is 0 if all of them work, 1 if one does not, and 2 if NAME is wrong.
    """
    makers, extra = _makers(name)

    import time

    from mediaserver.doctor.service_trip import service_trip, short_recording
    from mediaserver.telemetry.logs import configure_logs

    # What is wrong is printed as a result.
    configure_logs("critical")
    recording, is_speech = short_recording()
    if not is_speech:
        typer.echo(
            "mediaserver: recognisers hear a tone, because eSpeak NG is not installed:"
            " pip install '.[offline]'",
            err=True,
        )

    async def use(make: Any) -> list[dict[str, Any]]:
        stages = await service_trip(make(), recording, time.perf_counter)
        return [{**each._asdict(), "seconds": round(each.seconds, 3)} for each in stages]

    results: list[dict[str, Any]] = []
    for label, make in makers.items():
        result: dict[str, Any] = {"service": label, "error": None, "stages": []}
        try:
            result["stages"] = asyncio.run(use(make))
        except ImportError as error:
            told = extra is None or "pip install" in str(error)
            result["error"] = str(error) if told else f"{error}: pip install '.[{extra}]'"
        except RuntimeError as error:
            result["error"] = str(error)
        except Exception as error:
            result["error"] = f"{type(error).__name__}: {error}"
        results.append(result)
        if not as_json:
            _print(result)
    is_well = all(each["error"] is None for each in results)
    if as_json:
        text = json.dumps({"ok": is_well, "services": results}, indent=2, ensure_ascii=False)
        typer.echo(printable_json(text))
    raise typer.Exit(0 if is_well else 1)


def _makers(name: str) -> tuple[dict[str, Any], str | None]:
    """Return what makes each service that NAME names, by its name, and the extra they need."""
    from mediaserver.agents.services.known import KNOWN_SERVICES

    if ":" in name:
        return {name: _own(name)}, None
    provider = KNOWN_SERVICES.get(name)
    if provider is None:
        near = get_close_matches(name.lower(), KNOWN_SERVICES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        fail(
            f"there is no service {name!r}: {hint}known are {', '.join(KNOWN_SERVICES)}; a service"
            " of your own is named package.module:Name",
            2,
        )
    if provider.variable is not None and not os.environ.get(provider.variable):
        fail(f"{name} needs a key: set {provider.variable}")
    return {each.name: each.make for each in provider.services}, provider.extra


def _own(name: str) -> Any:
    from mediaserver.handler import HandlerError
    from mediaserver.importing import find_attribute, import_named

    try:
        module, attribute = import_named(name)
        found = find_attribute(module, attribute)
    except HandlerError as error:
        fail(str(error), 2)
    return found if callable(found) else lambda: found


def _print(result: dict[str, Any]) -> None:
    if result["error"] is not None:
        typer.echo(f"{result['service']:26} FAILED  {result['error']}")
    for stage in result["stages"]:
        milliseconds = f"{stage['seconds'] * 1000:.0f} ms"
        line = f"{result['service']:26} {stage['name']:13} {milliseconds:>9} after {stage['after']}"
        typer.echo(f"{line:72} {stage['detail']}".rstrip())
