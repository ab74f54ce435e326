"""One session of xAI's voice agent: what is different from OpenAI's Realtime API."""

from __future__ import annotations

from collections.abc import Sequence

from audiocodecs import AudioFormat
from mediaserver.agents.services.language_model import ToolCall
from mediaserver.agents.services.openai.realtime_events import (
    ApiItem,
    ApiResponse,
    CallArgumentsDone,
    StatusDetails,
)
from mediaserver.agents.services.openai.realtime_session import OpenAIRealtimeSession
from mediaserver.agents.services.realtime import CallerText, RealtimeEvent
from mediaserver.call import Frame


class XAIRealtimeSession(OpenAIRealtimeSession):
    """A session of `XAIRealtime`, for one call: see `OpenAIRealtimeSession`.

    https://docs.x.ai/developers/model-capabilities/audio/speech-to-speech#openai-realtime-api-compatibility.
    """

    def wire(self, format: AudioFormat) -> AudioFormat:
        """Return the call's own format, which the API hears and speaks."""
        return format

    async def transcribe(self, frames: Sequence[Frame]) -> CallerText:
        """Return no words: xAI does not say that audio is transcribed before it is answered."""
        return CallerText("")

    async def say(self, instructions: str) -> None:
        """Have the model say something of its own accord, such as a greeting."""
        # The instructions of a response take the place of the session's. It has no choice of tools.
        whole = f"{self._prompt}\n\n{instructions}" if self._prompt else instructions
        await self._ask({"instructions": whole})

    def _call_done(self, call: CallArgumentsDone) -> list[RealtimeEvent]:
        if self._cancelled:
            return []
        return [ToolCall(call.call_id, call.name, call.arguments or "{}")]

    def _item_done(self, item: ApiItem) -> list[RealtimeEvent]:
        # xAI's reference has tool calls in the event above, and does not say that items have.
        return [] if item.type == "function_call" else super()._item_done(item)

    async def _response_over(self, response: ApiResponse) -> list[RealtimeEvent]:
        if response.status == "cancelled" and self.takes_turns:
            # The API cancels a response when the caller speaks, and gives no reason.
            response.status_details = StatusDetails(reason="turn_detected")
        return await super()._response_over(response)
