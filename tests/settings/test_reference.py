from pathlib import Path

from mediaserver.settings import (
    Settings,
    default_of,
    load_settings,
    reference,
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
