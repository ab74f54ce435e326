from typing import Any

import pytest

from audiocodecs import L16_16K
from mediaserver.plivo.stream_options import StreamOptions
from mediaserver.plivo.stream_parameters import STREAM_PARAMETERS
from mediaserver.plivo.xml import Stream


def test_there_is_an_option_for_every_parameter() -> None:
    assert set(STREAM_PARAMETERS) | {"on_end"} == set(StreamOptions.__dataclass_fields__)


def test_options_are_written_as_the_pages_show_them() -> None:
    options = StreamOptions(
        content_type=L16_16K, extra_headers={"a": "1", "b": "2"}, audio_track="inbound"
    )
    stream = Stream("wss://voice.example.com/stream", **options.attributes())
    assert dict(stream.written_attributes()) == {
        "audioTrack": "inbound",
        "contentType": "audio/x-l16;rate=16000",
        "extraHeaders": "a=1,b=2",
    }


def test_options_come_over_others() -> None:
    over = StreamOptions(stream_timeout=5, bidirectional=False)
    below = StreamOptions(stream_timeout=9, noise_cancellation=True)
    assert over.over(below) == StreamOptions(
        stream_timeout=5, bidirectional=False, noise_cancellation=True
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"stream_timeout": 0}, "stream_timeout must be 1 to 86400, not 0"),
        ({"noise_cancellation_level": 20}, "noise_cancellation_level must be 60 to 100"),
        ({"audio_track": "all"}, "audio_track must be inbound or outbound or both, not 'all'"),
        ({"content_type": "audio/x-l16;rate=44100"}, "content_type must be audio/x-l16;rate=16000"),
        ({"extra_headers": {"a b": "1"}}, "extra_headers must be key1=value1,key2=value2"),
        ({"status_callback_url": "/status"}, "status_callback_url must be a URL"),
        ({"on_end": "next.xml"}, "on_end must be a URL that begins with http:// or https://"),
        ({"bidirectional": "perhaps"}, "bidirectional must be true or false"),
    ],
)
def test_a_value_that_plivo_refuses_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{problem}"):
        StreamOptions(**options)


def test_all_that_is_wrong_is_listed() -> None:
    with pytest.raises(ValueError, match=r"^stream_timeout [^\n]*\nnoise_cancellation_level "):
        StreamOptions(stream_timeout=0, noise_cancellation_level=1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"bidirectional": True, "audio_track": "both"}, "or turn bidirectional off$"),
        ({"keep_call_alive": False}, "set on_end to the URL"),
        ({"keep_call_alive": False, "on_end": "hangup"}, "set on_end to the URL"),
    ],
)
def test_options_that_disagree_are_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        StreamOptions(**options).check()


def test_what_plivo_ignores_is_a_warning() -> None:
    (warning,) = StreamOptions(noise_cancellation_level=90).warnings
    assert warning.startswith("noise_cancellation_level is ignored")
