import ast
import tomllib
from pathlib import Path

import pytest

from mediaserver.agents import services
from mediaserver.agents.services.known import KNOWN_SERVICES, KnownService


PROJECT = Path(__file__).parents[3] / "pyproject.toml"
ALL = [each for provider in KNOWN_SERVICES.values() for each in provider.services]


@pytest.mark.parametrize("known", ALL, ids=lambda known: known.name)
def test_a_known_service_is_a_class_of_its_module(known: KnownService) -> None:
    module = known.place.partition(":")[0].replace(".", "/")
    tree = ast.parse((Path(services.__file__).parent / f"{module}.py").read_text())
    assert known.name in {each.name for each in tree.body if isinstance(each, ast.ClassDef)}


def test_the_extra_of_a_provider_exists() -> None:
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    assert {each.extra for each in KNOWN_SERVICES.values()} <= set(extras)


def test_a_service_is_made_with_what_it_needs_and_what_is_given() -> None:
    known, *_ = KNOWN_SERVICES["cartesia"].services
    made = known.make(api_key="k", model="sonic-2")
    assert type(made).__name__ == known.name == "CartesiaVoice"


def test_a_service_at_azure_is_made_with_a_resource() -> None:
    for known in KNOWN_SERVICES["azure"].services:
        assert known.make().provider == "azure.ai.openai"
