import json
from collections.abc import Callable

import pytest

from audiocodecs import AudioError, AudioFormat
from mediaserver.error_line import error_line


def line_of(fails: Callable[[], object], kind: type[BaseException] = Exception) -> str:
    with pytest.raises(kind) as raised:
        fails()
    return error_line(raised.value)


def divide() -> float:
    return 1 / 0


def test_the_place_in_the_applications_code_comes_first() -> None:
    number = divide.__code__.co_firstlineno + 1
    text = f"test_error_line.py:{number}: ZeroDivisionError: division by zero"
    assert line_of(divide).endswith(text)


def test_an_error_in_the_standard_library_is_traced_to_the_application() -> None:
    text = line_of(lambda: json.loads("{"))
    assert "test_error_line.py:" in text
    assert "JSONDecodeError" in text


def test_messages_of_this_package_need_no_type() -> None:
    text = line_of(lambda: AudioFormat.parse("audio/ogg"), AudioError)
    assert "test_error_line.py:" in text
    assert "AudioError" not in text


def test_an_error_is_one_line() -> None:
    assert error_line(ValueError("no\n  price")) == "ValueError: no price"


def test_an_error_without_a_message_is_its_type() -> None:
    assert error_line(KeyError()) == "KeyError"


def test_a_syntax_error_is_at_the_place_that_it_names() -> None:
    assert line_of(lambda: compile("def", "shop.py", "exec")).startswith("shop.py:1: SyntaxError: ")
