"""Which result belongs to which tool call of a conversation; without I/O."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from mediaserver.agents.services.language_model import Message, ToolCall, ToolResult


def results_by_call(conversation: Sequence[Message]) -> dict[int, ToolResult]:
    """Return the result of each call by the call's index: the first one after it with its id."""
    open_calls: defaultdict[str, deque[int]] = defaultdict(deque)
    results = {}
    for index, message in enumerate(conversation):
        if isinstance(message, ToolCall):
            open_calls[message.id].append(index)
        elif isinstance(message, ToolResult) and open_calls[message.call_id]:
            results[open_calls[message.call_id].popleft()] = message
    return results
