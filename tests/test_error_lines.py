import json
from collections.abc import Callable

import pytest

from audiocodecs import AudioError, AudioFormat
from mediaserver.agents import VoiceAgent
from mediaserver.error_lines import error_lines


def line_of(fails: Callable[[], object], kind: type[BaseException] = Exception) -> str:
    with pytest.raises(kind) as raised:
        fails()
    (line,) = error_lines(raised.value)
    return line


def divide() -> float:
    return 1 / 0


def test_the_place_in_the_applications_code_comes_first() -> None:
    number = divide.__code__.co_firstlineno + 1
    text = f"test_error_lines.py:{number}: ZeroDivisionError: division by zero"
    assert line_of(divide).endswith(text)


def test_an_error_in_the_standard_library_is_traced_to_the_application() -> None:
    text = line_of(lambda: json.loads("{"))
    assert "test_error_lines.py:" in text
    assert "JSONDecodeError" in text


def test_messages_of_this_package_need_no_type() -> None:
    text = line_of(lambda: AudioFormat.parse("audio/ogg"), AudioError)
    assert "test_error_lines.py:" in text
    assert "AudioError" not in text


def test_each_line_of_a_message_of_this_package_has_one() -> None:
    with pytest.raises(TypeError) as raised:
        VoiceAgent(promt="", greting="")
    first, second, *_ = error_lines(raised.value)
    assert first.endswith("no setting 'promt'; did you mean 'prompt'?")
    assert second.endswith("no setting 'greting'; did you mean 'greeting'?")


def test_an_error_is_one_line() -> None:
    assert error_lines(ValueError("no\n  price")) == ["ValueError: no price"]


def test_the_cause_leads_to_the_place_if_the_error_does_not() -> None:
    with pytest.raises(ZeroDivisionError) as raised:
        divide()
    error = ValueError("no price")
    error.__cause__ = raised.value
    (line,) = error_lines(error)
    assert line.endswith(
        f"test_error_lines.py:{divide.__code__.co_firstlineno + 1}: ValueError: no price"
    )


def test_an_error_without_a_message_is_its_type() -> None:
    assert error_lines(KeyError()) == ["KeyError"]


def test_a_syntax_error_is_at_the_place_that_it_names() -> None:
    assert line_of(lambda: compile("def", "shop.py", "exec")).startswith("shop.py:1: SyntaxError: ")


def test_an_error_that_cannot_be_read_is_told_by_its_type() -> None:
    class UnreadableError(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    def fail() -> None:
        raise UnreadableError

    assert line_of(fail).endswith(": UnreadableError")
