from pathlib import Path
from typing import Any, get_args

import pytest

from mediaserver.settings import (
    Settings,
    default_of,
    load_settings,
    reference,
    unit_of,
)


def test_every_setting_has_a_description_and_a_default_that_can_be_given() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description
        default = default_of(field)
        if default and default != "random":
            given = {"auth_token": "t", name: default}
            assert getattr(load_settings(given), name) == getattr(load_settings(), name)


def test_the_reference_is_up_to_date() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert page.read_text() == reference(), "run: python -m mediaserver.settings > docs/settings.md"


def _is_number(kind: Any) -> bool:
    return kind in (int, float) or any(map(_is_number, get_args(kind)))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_number_has_a_unit_and_the_one_that_its_name_tells(name: str) -> None:
    field = Settings.model_fields[name]
    unit = unit_of(field)
    assert bool(unit) == _is_number(field.annotation)
    told = name.rpartition("_")[2].upper()
    if unit and told in ("SECONDS", "DAYS", "BYTES", "MEGABYTES", "SHARE"):
        assert unit == told
