import inspect
from typing import get_args

import pytest
import typer

from mediaserver.cli.setting_options import signature_with_settings
from mediaserver.settings import Settings


def test_every_setting_is_an_option() -> None:
    parameters = signature_with_settings("serve").parameters
    assert set(parameters) == {"spec", "config", *Settings.model_fields} - {"handler"}
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters.values())


def test_further_options_come_last() -> None:
    more = {"json": (bool, typer.Option("--json")), "number": (list[str] | None, typer.Option())}
    parameters = signature_with_settings("look at", **more).parameters
    assert list(parameters)[-2:] == ["json", "number"]
    assert parameters["json"].default is False
    assert parameters["number"].default is None


def metavar(name: str) -> str | None:
    _, option = get_args(signature_with_settings("serve").parameters[name].annotation)
    found: str | None = option.metavar
    return found


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("capture_share", "SHARE"),
        ("records_days", "DAYS"),
        ("capture_megabytes", "MEGABYTES"),
        ("max_body_bytes", "BYTES"),
        ("stream_timeout", "SECONDS"),
        ("max_calls_account", "N"),
        ("log_format", "console|json"),
        ("ssl_certfile", "PATH"),
        ("trusted_proxies", "TEXT"),
        ("bidirectional", None),
    ],
)
def test_an_option_says_what_it_takes(name: str, words: str | None) -> None:
    assert metavar(name) == words
