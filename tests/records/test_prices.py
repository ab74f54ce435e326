from pathlib import Path
from typing import Any

import pytest

from mediaserver.call import Turn, TurnStep, Usage
from mediaserver.records.prices import Price, PriceList, PricesError, read_prices


def step(**fields: Any) -> TurnStep:
    return TurnStep(**{"kind": "model", "name": "Chat", "began": 0.0, **fields})


def turn(*steps: TurnStep, **more: float) -> Turn:
    return Turn(number=1, steps=steps, usage=sum((s.usage for s in steps), Usage(**more)))  # type: ignore[arg-type]


def prices(**prices: Price) -> PriceList:
    return PriceList(currency="EUR", prices=prices)


TOKEN = Price(million_tokens_in=1e6)
WORD = Usage(tokens_in=1)


def test_each_unit_has_its_price() -> None:
    price = Price(
        million_tokens_in=2.0,
        million_tokens_out=8.0,
        million_tokens_cached=0.5,
        million_characters=10.0,
        speech_minute=0.6,
    )
    usage = Usage(
        tokens_in=3_000, tokens_cached=1_000, tokens_out=500, characters=200, speech_seconds=30
    )
    assert price.cost_of(usage) == pytest.approx(0.004 + 0.0005 + 0.004 + 0.002 + 0.3)


def test_cached_tokens_cost_what_others_do_unless_they_have_a_price() -> None:
    assert TOKEN.cost_of(Usage(tokens_in=5, tokens_cached=5)) == pytest.approx(5.0)


def test_use_of_a_unit_without_a_price_has_no_cost() -> None:
    assert TOKEN.cost_of(Usage(tokens_in=1, characters=1)) is None


@pytest.mark.parametrize("name", ["openai/gpt", "gpt", "openai", "Chat"])
def test_a_service_is_found_by_each_of_its_names(name: str) -> None:
    used = turn(step(provider="openai", model="gpt", usage=WORD))
    assert prices(**{name: TOKEN}).cost_of(used) == pytest.approx(1.0)


def test_the_most_exact_name_counts() -> None:
    own = prices(**{"openai": TOKEN, "openai/gpt": Price(million_tokens_in=3e6)})
    assert own.cost_of(turn(step(provider="openai", model="gpt", usage=WORD))) == pytest.approx(3.0)


def test_a_turn_costs_what_its_steps_do() -> None:
    assert prices(Chat=TOKEN).cost_of(turn(step(usage=WORD), step(usage=WORD))) == pytest.approx(2)
    assert prices(Chat=TOKEN).cost_of(turn(step(name="lookup", kind="tool"))) == 0.0


@pytest.mark.parametrize(
    "used", [turn(step(usage=WORD), step(name="Other", usage=WORD)), turn(characters=1)]
)
def test_a_turn_with_something_that_has_no_price_has_no_cost(used: Turn) -> None:
    assert prices(Chat=TOKEN).cost_of(used) is None


def test_prices_are_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('currency = "USD"\n[prices."openai/gpt"]\nmillion_tokens_in = 2\n')
    assert read_prices(path) == PriceList(
        currency="USD", prices={"openai/gpt": Price(million_tokens_in=2.0)}
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("currency = USD", "Invalid value"),
        ('currency = "dollars"\n[prices]', "currency"),
        ("[prices]", "missing required field `currency`"),
        ('currency = "USD"\n[prices.a]\ntokens = 2', "unknown field `tokens`"),
        ('currency = "USD"\n[prices.a]\nspeech_minute = -1', "`float` >= 0"),
        (
            'currency = "USD"\n[prices.a]\nspeech_minute = inf',
            "speech_minute of 'a' must be finite",
        ),
        ('currency = "USD"\n[prices.a]', "'a' has none of million_tokens_in"),
    ],
)
def test_what_is_wrong_with_prices_is_said(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(PricesError) as caught:
        read_prices(path)
    assert problem in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_of_prices_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(PricesError, match=r"prices\.toml: No such file"):
        read_prices(tmp_path / "prices.toml")
