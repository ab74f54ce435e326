"""Kinds of parameters: which values each accepts, whether from Python, JSON, a form or XML.

All take their value as text too, because forms and XML have nothing else. Space around it does not
count, nor does the case of words. No value, and empty text, mean that the parameter is left out.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Final, get_args
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema
from pydantic_core.core_schema import no_info_before_validator_function

from audiocodecs import AudioError, AudioFormat
from mediaserver.protocol import PLIVO_FORMATS


_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class ParameterKind(ABC):
    """The values of a parameter. A pydantic model uses it as ``Annotated[int | None, kind]``."""

    @abstractmethod
    def read(self, value: Any) -> Any:
        """Return a value in the one form that Plivo's pages show.

        Raises:
            ValueError: It is not allowed; the message says what is: ``must be …, not …``.

        """

    def read_optional(self, value: Any) -> Any:
        """Do the same, and return None for None and for empty text."""
        blank = value is None or (isinstance(value, str) and not value.strip())
        return None if blank else self.read(value)

    def write(self, value: Any) -> str:
        """Return a value that was read as text, for XML."""
        return str(value)

    def describe(self) -> dict[str, Any]:
        """Return what a JSON schema says about the values besides their type."""
        return {}

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        read = self.read_optional if NoneType in get_args(source) else self.read
        return no_info_before_validator_function(read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | self.describe()


class TextKind(ParameterKind):
    """Any text, as it stands; empty text is a text too."""

    def read(self, value: Any) -> str:
        """Return the text."""
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {value!r:.40}")
        return value

    def read_optional(self, value: Any) -> str | None:
        """Return the text, or None."""
        return None if value is None else self.read(value)


class FlagKind(ParameterKind):
    """True or false, in any case."""

    def read(self, value: Any) -> bool:
        """Return the truth."""
        word = value.strip().lower() if isinstance(value, str) else value
        if word in ("true", "false"):
            return bool(word == "true")
        if not isinstance(word, bool):
            raise ValueError(f"must be true or false, not {value!r:.40}")
        return word

    def write(self, value: Any) -> str:
        """Return ``true`` or ``false``."""
        return "true" if value else "false"


@dataclass(frozen=True)
class WholeKind(ParameterKind):
    """A whole number."""

    least: int
    most: int | None = None

    def read(self, value: Any) -> int:
        """Return the number."""
        number = value
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value.strip()):
            number = int(value)
        if not isinstance(number, int) or isinstance(number, bool):
            raise ValueError(f"must be a whole number, not {value!r:.40}")
        if number < self.least or (self.most is not None and number > self.most):
            span = f"at least {self.least}" if self.most is None else f"{self.least} to {self.most}"
            raise ValueError(f"must be {span}, not {number}")
        return number

    def describe(self) -> dict[str, Any]:
        """Return the range."""
        bounds = {"minimum": self.least, "maximum": self.most}
        return {name: bound for name, bound in bounds.items() if bound is not None}


class WordKind(ParameterKind):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self._words = {word.lower(): word for word in words}

    def read(self, value: Any) -> str:
        """Return the word as the pages write it."""
        word = self._words.get(value.strip().lower()) if isinstance(value, str) else None
        if word is None:
            raise ValueError(f"must be {' or '.join(self._words.values())}, not {value!r:.40}")
        return word


class UrlKind(ParameterKind):
    """A URL with one of some schemes, and no longer than `longest` characters."""

    def __init__(self, *schemes: str, longest: int | None = None) -> None:
        self._schemes = schemes
        self._longest = longest

    def read(self, value: Any) -> str:
        """Return the URL."""
        url = value.strip() if isinstance(value, str) else ""
        kinds = " or ".join(f"{scheme}://" for scheme in self._schemes)
        if re.search(r"\s", url) or _CONTROL.search(url):
            raise ValueError(f"contains a space or control character; escape it: {url!r:.80}")
        try:
            parts = urlsplit(url)
            good = parts.scheme in self._schemes and bool(parts.hostname)
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"is not a URL: {error}") from None
        if not good:
            raise ValueError(f"must be a URL that begins with {kinds}, not {value!r:.80}")
        if self._longest is not None and len(url) > self._longest:
            raise ValueError(
                f"must have at most {self._longest} characters; this URL has {len(url)}"
            )
        return url


class FormatKind(ParameterKind):
    """One of the audio formats of streams, with its rate. An `AudioFormat` is accepted too."""

    def read(self, value: Any) -> str:
        """Return the media type with its rate."""
        format = value
        if isinstance(value, str):
            try:
                format = AudioFormat.parse(value)
            except AudioError:
                format = None
            if "rate" not in value.lower():
                format = None
        if format not in PLIVO_FORMATS:
            allowed = " or ".join(sorted(str(each) for each in PLIVO_FORMATS))
            raise ValueError(f"must be {allowed}, not {str(value)!r:.60}")
        return str(format)


@dataclass(frozen=True)
class PairsKind(ParameterKind):
    """``key1=value1,key2=value2``, of letters and digits. A mapping is accepted too."""

    longest: int | None = None
    """In bytes."""
    escapes: bool = False
    """Whether values may have ``%`` too."""

    def read(self, value: Any) -> str:
        """Return the pairs as text."""
        if isinstance(value, Mapping):
            pairs = [f"{key}={text}" for key, text in value.items()]
        elif isinstance(value, str):
            pairs = value.strip().split(",")
        else:
            raise ValueError(f"must be key1=value1,key2=value2, not {value!r:.40}")
        for pair in pairs:
            if not re.fullmatch(rf"[A-Za-z0-9]+=[A-Za-z0-9{'%' * self.escapes}]+", pair):
                raise ValueError(
                    "must be key1=value1,key2=value2, with only the letters A to Z and a to z and"
                    f" digits in keys and values{' (and % in values)' * self.escapes};"
                    f" {pair!r:.60} is not such a pair"
                )
        text = ",".join(pairs)
        if self.longest is not None and len(text) > self.longest:
            raise ValueError(f"must have at most {self.longest} bytes, not {len(text)}")
        return text

    def read_optional(self, value: Any) -> str | None:
        """Do the same, and return None where there are no pairs."""
        return None if value == {} else super().read_optional(value)


SIP_HEADERS: Final = PairsKind(escapes=True)
"""``sip_headers`` of calls, and ``sipHeaders`` of ``<Dial>`` and ``<User>``."""
