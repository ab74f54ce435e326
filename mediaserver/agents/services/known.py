"""The services that are known by a provider's name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final, NamedTuple


class KnownService(NamedTuple):
    """A service of a provider.

    Attributes:
        place: ``module:Class`` below `mediaserver.agents.services`.
        arguments: what it cannot be made without, with values that its documentation uses.
        azure: whether it is reached at Azure.

    """

    place: str
    arguments: tuple[str, ...] = ()
    azure: bool = False

    @property
    def name(self) -> str:
        """The name of its class."""
        return self.place.partition(":")[2]

    def make(self, **options: Any) -> Any:
        """Import it and make it.

        Args:
            options: keyword arguments, such as ``base_url``.

        Raises:
            ImportError: a package that it needs is not installed. The message says which.

        """
        if self.azure and "azure" not in options:
            options["azure"] = _found("openai.azure:AzureResource")()
        return _found(self.place)(*self.arguments, **options)


def _found(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"mediaserver.agents.services.{module}"), name)


class KnownProvider(NamedTuple):
    """A provider, or a library that works offline.

    Attributes:
        services: its services.
        variable: the environment variable with its key; None if it needs none.
        extra: the extra that installs what they need.

    """

    services: tuple[KnownService, ...]
    variable: str | None
    extra: str


_OPENAI: Final = (
    KnownService("openai.speech:OpenAISpeech"),
    KnownService("openai.transcription:OpenAITranscription"),
    KnownService("openai.chat:OpenAIChat", ("gpt-5.4-mini",)),
    KnownService("openai.recognizer:OpenAIRecognizer"),
    KnownService("openai.realtime:OpenAIRealtime"),
)

KNOWN_SERVICES: Final[Mapping[str, KnownProvider]] = {
    "openai": KnownProvider(_OPENAI, "OPENAI_API_KEY", "openai"),
    "azure": KnownProvider(
        tuple(each._replace(azure=True) for each in _OPENAI), "AZURE_OPENAI_API_KEY", "openai"
    ),
    "deepgram": KnownProvider(
        (
            KnownService("deepgram.aura:DeepgramVoice"),
            KnownService("deepgram.nova:DeepgramRecognizer"),
            KnownService("deepgram.flux:FluxRecognizer"),
        ),
        "DEEPGRAM_API_KEY",
        "deepgram",
    ),
    "gemini": KnownProvider(
        (KnownService("gemini.model:GeminiModel"), KnownService("gemini.live:GeminiLive")),
        "GEMINI_API_KEY",
        "gemini",
    ),
    "elevenlabs": KnownProvider(
        (
            KnownService("elevenlabs.voice:ElevenLabsVoice", ("21m00Tcm4TlvDq8ikWAM",)),
            KnownService("elevenlabs.recognizer:ElevenLabsRecognizer"),
        ),
        "ELEVENLABS_API_KEY",
        "elevenlabs",
    ),
    "cartesia": KnownProvider(
        (
            KnownService("cartesia.voice:CartesiaVoice", ("a0e99841-438c-4a64-b679-ae501e7d6091",)),
            KnownService("cartesia.ink:CartesiaRecognizer"),
            KnownService("cartesia.ink:InkTurnsRecognizer"),
        ),
        "CARTESIA_API_KEY",
        "cartesia",
    ),
    "sarvam": KnownProvider(
        (
            KnownService("sarvam.voice:SarvamVoice", ("en-IN",)),
            KnownService("sarvam.recognizer:SarvamRecognizer", ("en-IN",)),
        ),
        "SARVAM_API_KEY",
        "sarvam",
    ),
    "xai": KnownProvider(
        (KnownService("xai.voice:XAIVoice"), KnownService("xai.realtime:XAIRealtime")),
        "XAI_API_KEY",
        "xai",
    ),
    "anthropic": KnownProvider(
        (KnownService("anthropic.model:AnthropicModel"),), "ANTHROPIC_API_KEY", "anthropic"
    ),
    "assemblyai": KnownProvider(
        (KnownService("assemblyai.recognizer:AssemblyAIRecognizer"),),
        "ASSEMBLYAI_API_KEY",
        "assemblyai",
    ),
    "espeak": KnownProvider((KnownService("espeak:EspeakSpeech"),), None, "offline"),
    "pocketsphinx": KnownProvider(
        (KnownService("pocketsphinx:PocketSphinxTranscription"),), None, "offline"
    ),
}
