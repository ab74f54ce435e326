"""Decodes and encodes the messages of Plivo's audio streams: text frames, and typed objects.

Reading is liberal: it accepts every form found in Plivo's documents, its SDKs and live traffic.
Writing is strict. Nothing here knows a socket, an event loop or a clock.
"""

from mediaserver.protocol.command_decoding import decode_command
from mediaserver.protocol.commands import (
    MAX_PLAY_BYTES,
    ClearAudio,
    Command,
    PlayAudio,
    SendDtmf,
    SetCheckpoint,
    UnknownCommand,
)
from mediaserver.protocol.dtmf import DIGITS
from mediaserver.protocol.encoding import PlayAudioEncoder, encode_command, encode_event
from mediaserver.protocol.errors import REASONS, ErrorReason, ProtocolError
from mediaserver.protocol.event_decoding import MediaAudio, decode_audio, decode_event
from mediaserver.protocol.events import (
    ClearedAudio,
    Dtmf,
    Event,
    Media,
    PlayedStream,
    Start,
    Stop,
    StreamError,
    Unknown,
)
from mediaserver.protocol.extra_headers import format_extra_headers, parse_extra_headers
from mediaserver.protocol.liberal import MAX_MESSAGE_BYTES
from mediaserver.protocol.media_format import PLIVO_FORMATS


__all__ = [
    "DIGITS",
    "MAX_MESSAGE_BYTES",
    "MAX_PLAY_BYTES",
    "PLIVO_FORMATS",
    "REASONS",
    "ClearAudio",
    "ClearedAudio",
    "Command",
    "Dtmf",
    "ErrorReason",
    "Event",
    "Media",
    "MediaAudio",
    "PlayAudio",
    "PlayAudioEncoder",
    "PlayedStream",
    "ProtocolError",
    "SendDtmf",
    "SetCheckpoint",
    "Start",
    "Stop",
    "StreamError",
    "Unknown",
    "UnknownCommand",
    "decode_audio",
    "decode_command",
    "decode_event",
    "encode_command",
    "encode_event",
    "format_extra_headers",
    "parse_extra_headers",
]
