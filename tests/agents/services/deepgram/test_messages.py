import json

import pytest

from mediaserver.agents.services import RecognizedWord
from mediaserver.agents.services.deepgram.messages import (
    AuraFlushed,
    DeepgramFailure,
    FluxTurn,
    NovaResults,
    decode_deepgram,
    speak_message,
)


RESULTS = {
    "type": "Results",
    "start": 1.0,
    "duration": 0.5,
    "is_final": True,
    "channel": {
        "alternatives": [
            {
                "transcript": "Hello.",
                "words": [
                    {"word": "hello", "start": 1.0, "end": 1.4, "punctuated_word": "Hello."},
                    {"word": "there", "start": 1.4, "end": 1.5, "new_field": 1},
                ],
            }
        ]
    },
}


def test_the_words_are_the_likeliest_ones_as_they_are_written() -> None:
    results = decode_deepgram(json.dumps(RESULTS))
    assert isinstance(results, NovaResults)
    assert results.text == "Hello."
    assert results.words == (
        RecognizedWord("Hello.", 1.0, 1.4),
        RecognizedWord("there", 1.4, 1.5),
    )
    nothing = decode_deepgram(json.dumps({**RESULTS, "channel": {"alternatives": []}}))
    assert isinstance(nothing, NovaResults)
    assert (nothing.text, nothing.words) == ("", ())


def test_words_of_flux_without_times_are_no_words_with_times() -> None:
    turn = decode_deepgram(
        '{"type":"TurnInfo","event":"Update","transcript":"a b","audio_window_start":0,'
        '"audio_window_end":1.5,"words":[{"word":"a"},{"word":"b","start":1,"end":1.5}]}'
    )
    assert isinstance(turn, FluxTurn)
    assert turn.timed_words == (RecognizedWord("b", 1, 1.5),)


def test_messages_of_other_types_are_passed_over() -> None:
    assert decode_deepgram('{"type":"Metadata","request_id":"1"}') is None
    assert decode_deepgram('{"type":"UtteranceEnd","channel":[0,1]}') is None
    assert isinstance(decode_deepgram('{"type":"Flushed","sequence_id":0}'), AuraFlushed)
    failure = decode_deepgram('{"type":"Error","code":"A","description":"b","sequence_id":1}')
    assert failure == DeepgramFailure("A", "b")


@pytest.mark.parametrize("message", ["{", "[]", '{"type":"Results"}', '{"type":1}'])
def test_a_message_that_is_wrong_is_an_error(message: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        decode_deepgram(message)


def test_text_is_sent_whatever_is_in_it() -> None:
    assert json.loads(speak_message('a "b"\nü')) == {"type": "Speak", "text": 'a "b"\nü'}
