"""The events of an answer that Gemini streams, without I/O.

https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse. The ``google-genai``
package's own models take hundreds of times as long to make.
"""

from __future__ import annotations

import msgspec

from mediaserver.agents.services.gemini.client import ApiError
from mediaserver.agents.services.language_model import Tokens


class FunctionCallPart(msgspec.Struct, rename="camel", gc=False):
    """A tool that the model uses. Models before Gemini 3 give it no id."""

    name: str
    args: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None


class AnswerPart(msgspec.Struct, rename="camel", gc=False):
    """A piece of text, of a thought, or a tool call."""

    text: str = ""
    thought: bool = False
    thought_signature: str | None = None
    function_call: FunctionCallPart | None = None


class AnswerContent(msgspec.Struct, gc=False):
    """What an event adds."""

    parts: list[AnswerPart] = []


class AnswerCandidate(msgspec.Struct, rename="camel", gc=False):
    """An answer. An event has one."""

    content: AnswerContent | None = None
    finish_reason: str | None = None
    finish_message: str | None = None


class PromptFeedback(msgspec.Struct, rename="camel", gc=False):
    """Why a request is not answered."""

    block_reason: str | None = None
    block_reason_message: str | None = None


class GeminiUsage(msgspec.Struct, rename="camel", gc=False):
    """The cost so far. Generated tokens have another name in the Live API."""

    prompt_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    cached_content_token_count: int = 0
    candidates_token_count: int = 0
    response_token_count: int = 0
    thoughts_token_count: int = 0

    @property
    def tokens(self) -> Tokens:
        """The cost; thoughts are written as well."""
        return Tokens(
            self.prompt_token_count + self.tool_use_prompt_token_count,
            self.candidates_token_count + self.response_token_count + self.thoughts_token_count,
            self.cached_content_token_count,
        )


class AnswerEvent(msgspec.Struct, rename="camel", gc=False):
    """An event of a streamed answer."""

    candidates: list[AnswerCandidate] = []
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: GeminiUsage | None = None
    error: ApiError | None = None


decode_answer_event = msgspec.json.Decoder(AnswerEvent).decode
