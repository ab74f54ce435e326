import pytest

from mediaserver.testing.deepgram import read_message, read_query
from mediaserver.testing.http_server import RefusedError


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/v1/listen", "model=nova-3&keyterm=a&keyterm=b&encoding=mulaw&sample_rate=8000"),
        ("/v1/listen", "model=nova-3&endpointing=false&language=multi"),
        ("/v2/listen", "model=flux-general-en&eot_threshold=0.5&eager_eot_threshold=0.4"),
        ("/v1/speak", "model=aura-2-thalia-en&speed=1.5"),
    ],
)
def test_what_deepgram_publishes_is_taken(path: str, query: str) -> None:
    assert read_query(path, query)


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("/v3/listen", "", "there is no"),
        ("/v1/listen", "language=en", "'model' is missing"),
        ("/v1/listen", "model=nova-3&keyterms=a", "unknown parameter 'keyterms'"),
        ("/v1/listen", "model=nova-2&keyterm=a", "keyterm is for nova-3"),
        ("/v1/listen", "model=nova-3&model=nova-2", "given 2 times"),
        ("/v1/listen", "model=nova-3&smart_format=yes", "cannot be 'yes'"),
        ("/v1/listen", "model=nova-3&encoding=mulaw", "both encoding and sample_rate"),
        ("/v2/listen", "model=nova-3", "cannot be 'nova-3'"),
        ("/v2/listen", "model=flux-general-en&language=en", "unknown parameter 'language'"),
        ("/v2/listen", "model=flux-general-en&eot_threshold=much", "cannot be 'much'"),
        ("/v2/listen", "model=flux-general-en&eager_eot_threshold=0.8", "is above eot_threshold"),
        ("/v1/speak", "model=aura-2-thalia-en&speed=2", "cannot be '2'"),
        ("/v1/speak", "container=none", "unknown parameter 'container'"),
    ],
)
def test_what_it_does_not_publish_is_refused(path: str, query: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        read_query(path, query)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1/listen", '{"type":"ForceEndTurn"}'),
        ("/v1/listen", '{"type":"Finalize","chanel":0}'),
        ("/v2/listen", '{"type":"KeepAlive"}'),
        ("/v1/speak", '{"type":"Speak"}'),
        ("/v1/speak", '{"type":"Speak","text":"a","context":"b"}'),
        ("/v1/speak", '{"type":"Speak","text":"%s"}' % ("a" * 2001)),
        ("/v1/speak", "Speak"),
    ],
)
def test_a_message_that_it_does_not_publish_is_refused(path: str, message: str) -> None:
    with pytest.raises(RefusedError):
        read_message(path, message)


def test_a_message_is_returned_with_its_type() -> None:
    speak = read_message("/v1/speak", '{"type":"Speak","text":"Hello"}')
    assert speak == {"type": "Speak", "text": "Hello"}
