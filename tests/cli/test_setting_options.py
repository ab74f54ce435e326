import inspect

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
