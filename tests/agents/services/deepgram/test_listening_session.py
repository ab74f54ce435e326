from collections.abc import Iterator

import pytest

from audiocodecs import L16_8K, L16_16K, MULAW_8K, AudioFormat
from mediaserver.agents.services import RecognizerEvent, ServiceError, WordsComplete
from mediaserver.agents.services.deepgram.account import DeepgramAccount
from mediaserver.agents.services.deepgram.listening_session import (
    DeepgramSession,
    listened_format,
)
from mediaserver.agents.services.deepgram.messages import DeepgramMessage
from mediaserver.testing import in_virtual_time
from mediaserver.testing.deepgram import DeepgramServer
from tests.agents.services.hearing import hear, spoken, until


class Misspelling(DeepgramSession):
    """Asks for the rest of the words in a way that Deepgram does not know."""

    finish_message = '{"type":"Finalise"}'

    def told(self, message: DeepgramMessage) -> Iterator[RecognizerEvent]:
        return iter(())


@pytest.mark.parametrize("format", [MULAW_8K, AudioFormat("alaw", 8000), L16_8K, L16_16K])
def test_the_telephones_formats_are_heard_as_they_are(format: AudioFormat) -> None:
    assert listened_format(format) is format


def test_any_other_format_is_heard_at_16_khz() -> None:
    assert listened_format(AudioFormat("l16", 22050)) is L16_16K


@in_virtual_time
async def test_what_deepgram_does_not_take_is_an_error() -> None:
    async with DeepgramServer().running() as server:
        account = DeepgramAccount("ears", base_url=server.base_url, api_key=server.api_key)
        socket = await account.connect("/v1/listen", {"model": "nova-3"}, MULAW_8K)
        session = Misspelling("ears", socket, MULAW_8K)
        await hear(session, spoken(0, 0.1))
        await session.finish()
        with pytest.raises(ServiceError, match="closed the connection with 1008: DATA-0000"):
            await until(session.events(), WordsComplete)
        await session.close()


@in_virtual_time
async def test_an_error_of_deepgrams_is_raised_and_a_warning_is_not() -> None:
    async with DeepgramServer().running() as server:
        account = DeepgramAccount("ears", base_url=server.base_url, api_key=server.api_key)
        socket = await account.connect("/v1/listen", {"model": "nova-3"}, MULAW_8K)
        session = Misspelling("ears", socket, MULAW_8K)
        for message in ('{"type":"Warning","code":"W","description":"so so"}', '{"type":"New"}'):
            assert list(session.understood(message)) == []
        assert list(session.understood('{"type":"Flushed"}')) == []
        with pytest.raises(ServiceError, match=r"it is full \(E\)"):
            list(session.understood('{"type":"Error","code":"E","description":"it is full"}'))
        await session.close()
