"""One session of xAI's voice agent: what is different from OpenAI's Realtime API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from audiocodecs import AudioFormat
from mediaserver.agents.services.language_model import Text, ToolCall
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

    https://docs.x.ai/docs/guides/voice/agent#message-types has neither a truncation nor a deletion
    of items, and no instructions of a single response.
    """

    def wire(self, format: AudioFormat) -> AudioFormat:
        """Return the call's own format, which the API hears and speaks."""
        return format

    async def transcribe(self, frames: Sequence[Frame]) -> CallerText:
        """Return no words: what is only overheard could not be removed from the conversation."""
        return CallerText("")

    async def say(self, instructions: str) -> None:
        """Have the model say something of its own accord, such as a greeting."""
        await self._ask({"instructions": instructions})

    async def truncate(self, item_id: str, seconds: float) -> None:
        """Do nothing: the model cannot be told how much the caller heard."""

    async def _request(self, response: dict[str, Any], event_id: str) -> None:
        if instructions := response.get("instructions"):
            # Only when the response is made: a response that waits may be given up.
            await self.tell(Text("system", instructions))
        await super()._request({}, event_id)

    def _call_done(self, call: CallArgumentsDone) -> list[RealtimeEvent]:
        if self._cancelled:
            return []
        return [ToolCall(call.call_id, call.name, call.arguments or "{}")]

    def _item_done(self, item: ApiItem) -> list[RealtimeEvent]:
        # The API's reference has tool calls in the event above, and does not say that items have.
        return [] if item.type == "function_call" else super()._item_done(item)

    async def _response_over(self, response: ApiResponse) -> list[RealtimeEvent]:
        if response.status == "cancelled" and self.takes_turns:
            # The API cancels a response when the caller speaks, and gives no reason.
            response.status_details = StatusDetails(reason="turn_detected")
        return await super()._response_over(response)
