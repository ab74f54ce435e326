"""Prices of services, and what a turn has cost by them."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec

from mediaserver.call import Turn, TurnStep, Usage


_Amount = Annotated[float, msgspec.Meta(ge=0)]

_UNITS: Final = tuple(Usage.__dataclass_fields__)
_ROUNDING: Final = 1e-6


class PricesError(ValueError):
    """A file of prices cannot be used; the message says which and why."""


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a service costs. What has no price here, it is not thought to use."""

    million_tokens_in: _Amount | None = None
    million_tokens_out: _Amount | None = None
    million_tokens_cached: _Amount | None = None
    """By default that of other tokens that are read."""
    million_characters: _Amount | None = None
    speech_minute: _Amount | None = None

    def cost_of(self, usage: Usage) -> float | None:
        """Return what some use costs; None if there is no price for a unit of it."""
        cached = self.million_tokens_cached
        parts = (
            (max(0, usage.tokens_in - usage.tokens_cached), self.million_tokens_in, 1e6),
            (usage.tokens_cached, self.million_tokens_in if cached is None else cached, 1e6),
            (usage.tokens_out, self.million_tokens_out, 1e6),
            (usage.characters, self.million_characters, 1e6),
            (usage.speech_seconds, self.speech_minute, 60.0),
        )
        used = [(amount / per, price) for amount, price, per in parts if amount > _ROUNDING]
        cost = 0.0
        for amount, price in used:
            if price is None:
                return None
            cost += amount * price
        return cost


class PriceList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The prices of services, as a user's file has them."""

    currency: Annotated[str, msgspec.Meta(pattern="^[A-Z]{3}$")]
    """Its code after ISO 4217, such as ``EUR``."""
    prices: dict[str, Price]
    """By ``provider/model``, by model, by provider, or by the name of a service's class."""

    def cost_of(self, turn: Turn) -> float | None:
        """Return what a turn has cost; None if it has used something without a price."""
        cost = 0.0
        for step in turn.steps:
            if step.usage == Usage():
                continue
            found = next((self.prices[name] for name in _names(step) if name in self.prices), None)
            part = None if found is None else found.cost_of(step.usage)
            if part is None:
                return None
            cost += part
        return None if _has_more_than_its_steps(turn) else cost


def read_prices(path: Path) -> PriceList:
    """Read a TOML file of prices.

    Raises:
        PricesError: there is none, or it has something else.

    """
    try:
        read = msgspec.convert(tomllib.loads(path.read_text("utf-8")), PriceList, strict=True)
    except OSError as error:
        raise PricesError(f"the prices cannot be read: {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise PricesError(
            f"the prices in {path} are not as docs/records.md says: {error}"
        ) from None
    for name, price in read.prices.items():
        amounts = msgspec.structs.asdict(price)
        if not any(each is not None for each in amounts.values()):
            raise PricesError(f"the prices in {path}: {name!r} has none of {', '.join(amounts)}")
        for unit, each in amounts.items():
            if each is not None and not math.isfinite(each):
                raise PricesError(f"the prices in {path}: {unit} of {name!r} must be finite")
    return read


def _names(step: TurnStep) -> Iterator[str]:
    """Yield the names under which a service may have its prices, the most exact first."""
    if step.provider and step.model:
        yield f"{step.provider}/{step.model}"
    yield from (name for name in (step.model, step.provider, step.name) if name)


def _has_more_than_its_steps(turn: Turn) -> bool:
    told = sum((step.usage for step in turn.steps), Usage())
    return any(getattr(turn.usage, unit) > getattr(told, unit) + _ROUNDING for unit in _UNITS)
