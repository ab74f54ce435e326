"""The conversation of a session: what was said, what was used, and the rules for changing it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mediaserver.testing.openai.realtime.client_events import JsonDict, RealtimeRefusal
from mediaserver.testing.openai.realtime.session_settings import SessionSettings


_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_CONTENT = {
    "system": ("input_text",),
    "user": ("input_text", "input_audio", "input_image"),
    "assistant": ("output_text",),
}


@dataclass(slots=True)
class RealtimeItem:
    """One item of a conversation.

    Attributes:
        value: the item as the API has it.
        audio: bytes of audio that the model said in it; None if the model did not speak it.

    """

    value: JsonDict
    audio: int | None = None


class RealtimeConversation:
    """The items of a session, in their order.

    Attributes:
        items: by their ids.

    """

    def __init__(self) -> None:
        self.items: dict[str, RealtimeItem] = {}

    @property
    def last_id(self) -> str | None:
        """The id of the last item."""
        return next(reversed(self.items), None)

    def add(self, item: JsonDict, item_id: str, audio: int | None = None) -> JsonDict:
        """Add an item at the end, and return it as the API has it."""
        value = {**item, "id": item_id, "object": "realtime.item"}
        self.items[item_id] = RealtimeItem(value, audio)
        return value

    def check_new(self, event: JsonDict) -> None:
        """Check the item of a ``conversation.item.create``.

        Raises:
            RealtimeRefusal: it has no place here, or its content is wrong.

        """
        item, after = event["item"], event.get("previous_item_id")
        if after not in (None, "root", *self.items):
            raise RealtimeRefusal("item_create_invalid_item_id", f"There is no item '{after}'.")
        if item.get("id") in self.items:
            raise RealtimeRefusal("item_create_duplicate_id", f"There is an item '{item['id']}'.")
        if item["type"] == "message":
            allowed = _CONTENT[item["role"]]
            for kind in (part.get("type") for part in item["content"]):
                if kind not in allowed:
                    supported = " and ".join(f"'{name}'" for name in allowed)
                    text = f"Invalid value: {kind!r}. Supported values are: {supported}"
                    raise RealtimeRefusal("invalid_value", text, param="item.content")
            return
        call_id = item.get("call_id") or ""
        if not _CALL_ID.fullmatch(call_id):
            raise RealtimeRefusal("invalid_value", f"Invalid 'item.call_id': {call_id!r}.")
        if item["type"] == "function_call_output" and call_id not in self._call_ids:
            text = f"Tool call ID '{call_id}' not found in conversation."
            raise RealtimeRefusal("invalid_tool_call_id", text)

    def truncate(self, event: JsonDict, settings: SessionSettings) -> None:
        """Shorten what the model said, as a ``conversation.item.truncate`` asks.

        Raises:
            RealtimeRefusal: the model did not say the item, or not that much of it.

        """
        item = self.find(event["item_id"], "truncate")
        if item.audio is None:
            text = "Only model output audio messages can be truncated"
            raise RealtimeRefusal("unsupported_content_type", text)
        if event["content_index"] != 0:
            text = "There is no such content."
            raise RealtimeRefusal("invalid_value", text, param="content_index")
        length, end = round(settings.seconds(item.audio, "output") * 1000), event["audio_end_ms"]
        if end < 0:
            raise RealtimeRefusal("integer_below_min_value", "Invalid 'audio_end_ms'.")
        if end > length:
            text = f"Audio content of {length}ms is already shorter than {end}ms"
            raise RealtimeRefusal("invalid_value", text)
        item.audio = int(end / 1000 * settings.wire("output").bytes_per_second)
        item.value["content"][0]["transcript"] = ""

    def find(self, item_id: str, purpose: str) -> RealtimeItem:
        """Return an item.

        Args:
            item_id: its id.
            purpose: what is to be done with it, for the error's code: ``truncate``, ``delete`` or
                ``retrieve``.

        Raises:
            RealtimeRefusal: it does not exist.

        """
        item = self.items.get(item_id)
        if item is None:
            text = f"Error: item '{item_id}' not found."
            raise RealtimeRefusal(f"item_{purpose}_invalid_item_id", text, param="item_id")
        return item

    @property
    def _call_ids(self) -> set[str]:
        values = (item.value for item in self.items.values())
        return {value["call_id"] for value in values if value["type"] == "function_call"}
