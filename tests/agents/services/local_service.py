from contextlib import AsyncExitStack
from typing import Any

from audiocodecs import AudioFormat
from mediaserver.agents.services import RecognizerSession, VoiceSession
from mediaserver.testing import JoinedCall
from mediaserver.testing.socket_server import SocketServer
from tests.agents.scripted_call import caller, converse, voice


class LocalService:
    """A recogniser or a voice with a server in the loop of the call."""

    def __init__(self, kind: Any, server: SocketServer, name: str | None = None) -> None:
        self.name = name or kind.name
        self._kind = kind
        self._server = server
        self._running = AsyncExitStack()

    async def listen(self, format: AudioFormat) -> RecognizerSession:
        session: RecognizerSession = await (await self._service()).listen(format)
        return session

    async def connect(self, format: AudioFormat) -> VoiceSession:
        session: VoiceSession = await (await self._service()).connect(format)
        return session

    async def _service(self) -> Any:
        if not self._server.base_url:
            await self._running.enter_async_context(self._server.running())
        return self._kind(base_url=self._server.base_url, api_key=self._server.api_key)

    @property
    def open(self) -> int:
        return self._server.open

    async def stop(self) -> None:
        assert set(self._server.refusals) <= {"The scripted refusal."}
        await self._running.aclose()


HEARD = ["What is up?", "Wait a moment, please."]
"""What the caller says in `assert_call_is_heard`."""


def assert_call_is_heard(
    ears: LocalService, *, times: tuple[float, float, float] = (2.0, 5.0, 12.0), **settings: Any
) -> None:
    """Make a call with two turns of the caller, of which the second interrupts the agent.

    They are at the first two of `times`, in seconds; the caller hangs up at the third.
    """
    first, second, over = times
    steps = caller(first, voice(1.0), second, voice(1.2), over)

    async def script(line: JoinedCall, agent: Any) -> None:
        await steps(line, agent)
        await line.phone.hang_up()
        await ears.stop()

    call = converse(
        script,
        stt=ears,
        answers=["One two three four five six seven eight nine ten eleven twelve.", "Of course."],
        greeting="Hello there.",
        **settings,
    )
    assert [text for role, text in call.said if role == "user"] == HEARD
    assert call.agent.barge_ins
    assert call.said[0] == ("assistant", "Hello there.")
    assert call.said[-1] == ("assistant", "Of course.")
