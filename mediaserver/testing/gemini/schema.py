"""The published types of what clients send to Gemini, closed: a field that is not here is refused.

Fields, types and enums are those of https://ai.google.dev/api/generate-content and
https://ai.google.dev/api/live, as far as phone agents may use them. As the API does, this takes
the names of fields in camelCase and in snake_case.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, TypeVar

import msgspec

from mediaserver.testing.http_server import RefusedError


class _Closed(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    pass


class WireBlob(_Closed):
    """Audio or other data, in base64."""

    data: bytes
    mime_type: str


class WireCall(_Closed):
    """A tool call that is sent back."""

    name: str
    args: dict[str, Any] = {}
    id: str | None = None


class WireResult(_Closed):
    """The result of a tool call."""

    name: str
    response: dict[str, Any]
    id: str | None = None
    will_continue: bool | None = None
    scheduling: Literal["SILENT", "WHEN_IDLE", "INTERRUPT"] | None = None


class WirePart(_Closed):
    """A part of a content."""

    text: str | None = None
    inline_data: WireBlob | None = None
    function_call: WireCall | None = None
    function_response: WireResult | None = None
    thought: bool | None = None
    thought_signature: str | None = None


class WireContent(_Closed):
    """What one side said."""

    parts: list[WirePart] = []
    role: Literal["user", "model"] | None = None


class WireFunction(_Closed):
    """The declaration of a tool."""

    name: str
    description: str
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    behavior: Literal["BLOCKING", "NON_BLOCKING"] | None = None


class WireTool(_Closed):
    """Tools of one kind."""

    function_declarations: list[WireFunction] | None = None
    google_search: dict[str, Any] | None = None
    url_context: dict[str, Any] | None = None
    code_execution: dict[str, Any] | None = None


class WireThinking(_Closed):
    """How much the model thinks."""

    include_thoughts: bool | None = None
    thinking_budget: int | None = None
    thinking_level: Literal["MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH"] | None = None


class WirePrebuiltVoice(_Closed):
    """A voice by its name."""

    voice_name: str


class WireVoice(_Closed):
    """A voice."""

    prebuilt_voice_config: WirePrebuiltVoice | None = None


class WireSpeech(_Closed):
    """How the model speaks."""

    voice_config: WireVoice | None = None
    language_code: str | None = None


class WireGeneration(_Closed):
    """How an answer is made."""

    candidate_count: int | None = None
    frequency_penalty: float | None = None
    max_output_tokens: int | None = None
    media_resolution: str | None = None
    presence_penalty: float | None = None
    response_json_schema: dict[str, Any] | None = None
    response_mime_type: str | None = None
    response_modalities: list[Literal["TEXT", "AUDIO", "IMAGE"]] | None = None
    response_schema: dict[str, Any] | None = None
    seed: int | None = None
    speech_config: WireSpeech | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    thinking_config: WireThinking | None = None
    top_k: float | None = None
    top_p: float | None = None


class WireSafety(_Closed):
    """Which answers are blocked."""

    category: Literal[
        "HARM_CATEGORY_HARASSMENT",
        "HARM_CATEGORY_HATE_SPEECH",
        "HARM_CATEGORY_SEXUALLY_EXPLICIT",
        "HARM_CATEGORY_DANGEROUS_CONTENT",
        "HARM_CATEGORY_CIVIC_INTEGRITY",
    ]
    threshold: Literal[
        "BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"
    ]


class WireFunctionCalling(_Closed):
    """Whether the model uses tools."""

    mode: Literal["AUTO", "ANY", "NONE", "VALIDATED"] | None = None
    allowed_function_names: list[str] | None = None


class WireToolConfig(_Closed):
    """How the model uses tools."""

    function_calling_config: WireFunctionCalling | None = None


class GenerateRequest(_Closed):
    """The body of ``streamGenerateContent``."""

    contents: list[WireContent]
    model: str | None = None
    system_instruction: WireContent | None = None
    tools: list[WireTool] = []
    tool_config: WireToolConfig | None = None
    safety_settings: list[WireSafety] = []
    generation_config: WireGeneration | None = None
    cached_content: str | None = None


class WireDetection(_Closed):
    """How the server takes the turns."""

    disabled: bool = False
    start_of_speech_sensitivity: (
        Literal["START_SENSITIVITY_HIGH", "START_SENSITIVITY_LOW"] | None
    ) = None
    end_of_speech_sensitivity: Literal["END_SENSITIVITY_HIGH", "END_SENSITIVITY_LOW"] | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None


class WireInputConfig(_Closed):
    """What the server does with what it hears."""

    automatic_activity_detection: WireDetection = msgspec.field(default_factory=WireDetection)
    activity_handling: Literal["START_OF_ACTIVITY_INTERRUPTS", "NO_INTERRUPTION"] | None = None
    turn_coverage: (
        Literal[
            "TURN_INCLUDES_ONLY_ACTIVITY",
            "TURN_INCLUDES_ALL_INPUT",
            "TURN_INCLUDES_AUDIO_ACTIVITY_AND_ALL_VIDEO",
        ]
        | None
    ) = None


class WireTranscription(_Closed):
    """How speech is transcribed."""

    language_codes: list[str] | None = None
    custom_vocabulary: list[str] | None = None
    word_timestamp: bool | None = None
    diarization: bool | None = None
    mode: Literal["VERBATIM", "SMART"] | None = None


class WireResumption(_Closed):
    """Which session is resumed."""

    handle: str | None = None


class WireWindow(_Closed):
    """How much of the conversation is kept."""

    target_tokens: int | None = None


class WireCompression(_Closed):
    """When the conversation is shortened."""

    trigger_tokens: int | None = None
    sliding_window: WireWindow | None = None


class WireHistory(_Closed):
    """How the conversation so far is sent."""

    initial_history_in_client_content: bool | None = None


class WireProactivity(_Closed):
    """Whether the model may keep silent."""

    proactive_audio: bool | None = None


class LiveSetup(_Closed):
    """The first message of a session."""

    model: str
    generation_config: WireGeneration = msgspec.field(default_factory=WireGeneration)
    system_instruction: WireContent | None = None
    tools: list[WireTool] = []
    realtime_input_config: WireInputConfig = msgspec.field(default_factory=WireInputConfig)
    session_resumption: WireResumption | None = None
    context_window_compression: WireCompression | None = None
    input_audio_transcription: WireTranscription | None = None
    output_audio_transcription: WireTranscription | None = None
    proactivity: WireProactivity | None = None
    history_config: WireHistory | None = None
    safety_settings: list[WireSafety] = []


class LiveClientTurns(_Closed):
    """Something that is added to the conversation."""

    turns: list[WireContent] = []
    turn_complete: bool = False


class _Nothing(_Closed):
    pass


class LiveInput(_Closed):
    """What the user does now. A message has one of these."""

    audio: WireBlob | None = None
    text: str | None = None
    activity_start: _Nothing | None = None
    activity_end: _Nothing | None = None
    audio_stream_end: bool | None = None


class LiveToolResponse(_Closed):
    """The results of tool calls."""

    function_responses: list[WireResult]


class LiveTools(_Closed):
    """Other tools."""

    tools: list[WireTool]


class LiveContextUpdate(_Closed):
    """Another prompt, other tools."""

    system_instruction: WireContent | None = None
    tools: LiveTools | None = None


class LiveClientMessage(_Closed):
    """A message of a client, which has exactly one of these."""

    setup: LiveSetup | None = None
    client_content: LiveClientTurns | None = None
    realtime_input: LiveInput | None = None
    tool_response: LiveToolResponse | None = None
    context_update: LiveContextUpdate | None = None


_FREE: Final = frozenset(
    {"args", "response", "parameters", "parametersJsonSchema", "responseJsonSchema"}
)
"""Fields below which names are the client's own."""

T = TypeVar("T")


def read_closed(message: bytes | str, kind: type[T]) -> T:
    """Return a message as its type.

    Raises:
        RefusedError: the message is not JSON, a field is unknown, missing or wrong, or a value is
            not in its enum.

    """
    try:
        return msgspec.convert(_camel(msgspec.json.decode(message)), kind)
    except msgspec.ValidationError as error:
        reason = f"Invalid JSON payload received. {error}"
        raise RefusedError(400, reason, "INVALID_ARGUMENT") from None
    except msgspec.DecodeError as error:
        raise RefusedError(400, f"Invalid JSON payload: {error}", "INVALID_ARGUMENT") from None


def _camel(value: Any) -> Any:
    if isinstance(value, list):
        return [_camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    named = {re.sub(r"_([a-z])", lambda m: m[1].upper(), name): v for name, v in value.items()}
    return {name: v if name in _FREE else _camel(v) for name, v in named.items()}
