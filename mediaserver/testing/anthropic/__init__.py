"""A local Anthropic to test against: its language models. It needs no key and no network.

It says what a script says, fails on request, and refuses what the published protocol does not have.
"""

from mediaserver.testing.anthropic.answers import (
    AnthropicToolUse,
    anthropic_answers,
    anthropic_refuses,
)
from mediaserver.testing.anthropic.server import AnthropicServer


__all__ = ["AnthropicServer", "AnthropicToolUse", "anthropic_answers", "anthropic_refuses"]
