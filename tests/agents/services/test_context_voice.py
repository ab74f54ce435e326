from typing import Any

import pytest

from audiocodecs import AudioFormat
from mediaserver.agents.services import MisconfiguredServiceError, ServiceError
from mediaserver.agents.services.cartesia.voice import CartesiaVoice
from mediaserver.agents.services.elevenlabs.voice import ElevenLabsVoice
from mediaserver.testing import in_virtual_time
from mediaserver.testing.cartesia import CartesiaServer
from mediaserver.testing.elevenlabs import ElevenLabsServer


MULAW = AudioFormat("mulaw", 8000)

both = pytest.mark.parametrize(
    ("served", "voice", "variable"),
    [
        (ElevenLabsServer, ElevenLabsVoice, "ELEVENLABS_API_KEY"),
        (CartesiaServer, CartesiaVoice, "CARTESIA_API_KEY"),
    ],
    ids=["elevenlabs", "cartesia"],
)


@both
@in_virtual_time
async def test_the_check_opens_a_session_and_says_nothing(
    served: Any, voice: Any, variable: str
) -> None:
    async with served() as server:
        made = voice("anna", api_key="key", base_url=server.base_url)
        await made.check()
        await made.close()
        assert [session.received for session in server.sessions] == [[]]


@both
@in_virtual_time
async def test_a_wrong_key_is_named_and_not_shown(served: Any, voice: Any, variable: str) -> None:
    async with served() as server:
        made = voice("anna", api_key="wr0ng", base_url=server.base_url)
        with pytest.raises(MisconfiguredServiceError, match="401") as refused:
            await made.check()
        assert "wr0ng" not in str(refused.value)


@both
@in_virtual_time
async def test_the_key_comes_from_the_environment(
    served: Any, voice: Any, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "key")
    async with served() as server:
        await voice("anna", base_url=server.base_url).check()
    monkeypatch.delenv(variable)
    with pytest.raises(MisconfiguredServiceError, match=f"set {variable}, or pass api_key"):
        await voice("anna").connect(MULAW)


@both
@pytest.mark.parametrize("status", [429, 500])
@in_virtual_time
async def test_a_refused_connection_says_its_status(
    served: Any, voice: Any, variable: str, status: int
) -> None:
    async with served() as server:
        server.refuse(status)
        made = voice("anna", api_key="key", base_url=server.base_url)
        with pytest.raises(ServiceError) as refused:
            await made.connect(MULAW)
        assert refused.value.status == status
        await made.check()


@both
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("base_url", "https://api.example.com"),
        ("base_url", "wss://"),
        ("connect_timeout", 0),
        ("first_timeout", -1),
        ("stall_timeout", float("inf")),
        ("model", ""),
        ("speed", 3),
        ("speed", True),
        ("language", "English"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(
    served: Any, voice: Any, variable: str, setting: str, value: Any
) -> None:
    with pytest.raises(ValueError, match=setting):
        voice("anna", **{setting: value})
