"""The tools that a model of Gemini's Live API uses, without I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mediaserver.agents.services.gemini.live_messages import results_message, returned
from mediaserver.agents.services.language_model import Text, ToolResult


class LiveCalls:
    """Knows the calls whose results the model waits for, and those that it does not wait for.

    The latter's results are notes for the model.
    """

    def __init__(self) -> None:
        # Names of tools, by the ids of the calls.
        self._awaited: dict[str, str] = {}
        self._released: dict[str, str] = {}
        self._results: dict[str, str] = {}

    def __bool__(self) -> bool:
        """Whether the model waits for a result."""
        return bool(self._awaited)

    def begin(self, call_id: str, name: str) -> None:
        """Note that the model waits for the result of a call."""
        self._awaited[call_id] = name

    def returned(self, result: ToolResult) -> Text | None:
        """Note a result; return it as a text if the model does not wait for it."""
        if result.call_id not in self._awaited:
            name = self._released.pop(result.call_id, "A tool")
            return Text("user", returned(name, result.text))
        self._results[result.call_id] = result.text
        return None

    def answer(self, unknown: Mapping[str, str]) -> tuple[str, list[Text]]:
        """Answer all calls, with `unknown` for the results that are not there yet.

        Returns:
            The message, and what is known as texts, for a connection that knows nothing of the
            calls.

        """
        responses: list[tuple[str, str, Mapping[str, str]]] = []
        for call_id, name in self._awaited.items():
            result = self._results.get(call_id)
            responses.append((call_id, name, unknown if result is None else {"output": result}))
        return results_message(responses), self.release()

    def release(self, call_ids: Collection[str] | None = None) -> list[Text]:
        """Wait no more for these calls, or for all; return the results that are known as texts."""
        told = []
        for call_id in list(self._awaited if call_ids is None else call_ids):
            name = self._awaited.pop(call_id, None)
            result = self._results.pop(call_id, None)
            if name is None:
                continue
            if result is None:
                self._released[call_id] = name
            else:
                told.append(Text("user", returned(name, result)))
        return told
