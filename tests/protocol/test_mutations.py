"""Damaged messages: 20,000 events and as many commands, the same in every run."""

import json
import random
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any, get_args

import msgspec
import pytest

from audiocodecs import L16_16K, MULAW_8K, AudioFormat
from mediaserver.protocol import (
    REASONS,
    ClearAudio,
    ClearedAudio,
    Command,
    Dtmf,
    Event,
    Media,
    PlayAudio,
    PlayedStream,
    ProtocolError,
    SendDtmf,
    SetCheckpoint,
    Start,
    Stop,
    StreamError,
    decode_command,
    decode_event,
    encode_command,
    encode_event,
)


ROUNDS = 16_000  # faults put into the decoders on trial were all found within 8,400
CALL = "0eb0f00e-49ba-41ca-81f6-700628f7af8b"
STREAM = "20170ada-f610-433b-8758-c02a2aab3662"
AUDIO = bytes(range(160))

EVENTS = [
    encode_event(event)
    for event in (
        Start(CALL, STREAM, "MA", ("inbound",), L16_16K, {"a": "b"}, "{X-PH-a: b}", 1),
        Media(AUDIO, "inbound", 1705312200000, 41, STREAM, 42, "{}"),
        Dtmf("5", "inbound", 1705312250000, STREAM, 50, "{}"),
        PlayedStream("greeting", STREAM, 75),
        ClearedAudio(STREAM, 80),
        Stop("hangup", STREAM, 81),
        StreamError("error", "buffer_overflow", STREAM, 82),
        StreamError("incorrectPayload"),
    )
] + [
    (
        '{"event":"start","start":{"callUUID":"c","mediaFormat":{"type":"audio/x-l16;rate=8000",'
        '"rate":"8000"},"extra_headers":{"a":{"b":[1]}},"tracks":"both"},"streamId":"s"}'
    ),
    '{"event":"media","sequenceNumber":"3","media":{"chunk":"1","payload":"AAE_-w"}}',
    '{"event":"played","played":{"name":"a"}}',
    '{"event":"stop","stop":{"callId":"c","streamId":"s","tracks":["inbound"]}}',
    '{"event":"muteStream","deep":[[[{"a":[[]]}]]]}',
]
COMMANDS = [
    encode_command(command).decode()
    for command in (
        PlayAudio(AUDIO, MULAW_8K),
        SetCheckpoint(STREAM, "greeting"),
        ClearAudio(STREAM),
        SendDtmf("1234#"),
    )
] + [
    (
        '{"event":"playAudio","streamId":"s","media":{"contentType":"audio/x-l16;rate=8000",'
        '"sampleRate":"8000","payload":"AAE_-w"}}'
    ),
    '{"event":"playAudio","media":{"contentType":"raw","payload":"AAEC"}}',
    '{"event":"clearAudio","stream_uuid":"s"}',
    '{"event":"hangup"}',
]

ODD_VALUES = [
    *(None, True, False, 0, -1, 3, 8000, 16000, 0.5, -0.0, 1e300, 2**63, 10**400),
    *("", "x", "3", "-1", "1e9", "9" * 5000, "=", "AAA", "\x00", "é😀", "media", "start"),
    *("playAudio", "audio/opus", "audio/x-l16;rate=16000", "{X-PH-a: b}", '{"a":1}', "a=b;c"),
    *([], {}, [1], ["inbound", 5], {"payload": "AAEC"}, {"a": {"b": [None]}}, [[[[]]]]),
    json.loads("[" * 40 + "]" * 40),
]
ODD_BYTES = [
    *(b"\xff", b"\x00", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"\\u0000"),
    *(b"NaN", b"Infinity", b"-", b"1e999", b"null", b"{", b"}", b"[", b"]", b'"', b"\\", b","),
    *(b"9" * 4400, b"[" * 40, b"[" * 3000, b'{"a":' * 3000, b'"event":"media",', b'"media":{},'),
]


def flip(rng: Random, message: bytes) -> bytes:
    at = rng.randrange(len(message))
    return message[:at] + bytes([message[at] ^ 1 << rng.randrange(8)]) + message[at + 1 :]


def delete(rng: Random, message: bytes) -> bytes:
    at = rng.randrange(len(message))
    return message[:at] + message[at + rng.randint(1, 12) :]


def insert(rng: Random, message: bytes) -> bytes:
    at = rng.randint(0, len(message))
    return message[:at] + rng.choice(ODD_BYTES) + message[at:]


def truncate(rng: Random, message: bytes) -> bytes:
    return message[: rng.randint(0, len(message))]


def splice(rng: Random, message: bytes) -> bytes:
    other = rng.choice(EVENTS + COMMANDS).encode()
    return message[: rng.randint(0, len(message))] + other[rng.randint(0, len(other)) :]


def swap_type(rng: Random, message: bytes) -> bytes:
    """Replace, remove or rename what is at a random path of the JSON."""
    root = json.loads(message)
    places = []
    nodes = [root]
    while nodes:
        node = nodes.pop()
        keys = list(node) if isinstance(node, dict) else range(len(node))
        places += [(node, key) for key in keys]
        nodes += [node[key] for key in keys if isinstance(node[key], dict | list)]
    node, key = rng.choice(places)
    match rng.randrange(4):
        case 0:
            del node[key]
        case 1 if isinstance(node, dict):
            node[rng.choice(["event", "streamId", "media", "payload", "x"])] = node.pop(key)
        case _:
            node[key] = rng.choice(ODD_VALUES)
    return json.dumps(root, ensure_ascii=rng.random() < 0.5).encode()


DAMAGES = [flip, delete, insert, truncate, splice]


def damaged(rng: Random, corpus: list[str]) -> bytes:
    message = rng.choice(corpus).encode()
    if rng.random() < 0.5:
        message = swap_type(rng, message)
        if rng.random() < 0.7:
            return message
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        if message:
            message = rng.choice(DAMAGES)(rng, message)
    return message


def as_frame(rng: Random, message: bytes) -> bytes | str:
    """A text frame as a library hands it over: bytes, or text that may hold lone surrogates."""
    return message if rng.random() < 0.5 else message.decode("utf-8", "surrogateescape")


def has_its_types(read: Event | Command) -> bool:
    if isinstance(read, PlayAudio):  # msgspec cannot convert to the type of its payload
        return isinstance(read.payload, bytes) and isinstance(read.format, AudioFormat | None)
    fields = {name: getattr(read, name) for name in read.__struct_fields__}
    return bool(msgspec.convert(fields, type(read), builtin_types=(bytes,)) == read)


@pytest.mark.parametrize(
    ("decode", "corpus", "union", "seed"),
    [(decode_event, EVENTS, Event, 1), (decode_command, COMMANDS, Command, 2)],
    ids=["events", "commands"],
)
def test_a_damaged_message_is_read_or_refused(
    decode: Callable[..., Any], corpus: list[str], union: Any, seed: int
) -> None:
    rng = random.Random(seed)
    kinds = get_args(union)
    seen: Counter[Any] = Counter()
    longest = 0
    for _ in range(ROUNDS):
        message = as_frame(rng, damaged(rng, corpus))
        try:
            read = decode(message)
            outcome: Any = type(read)
            assert has_its_types(read)
        except ProtocolError as error:
            outcome = error.reason
            longest = max(longest, len(str(error)))
        seen[outcome] += 1
    assert seen.total() == ROUNDS
    assert seen.keys() <= {*kinds, *REASONS}
    assert longest < 250, "an error repeats too much of its input"
    assert set(kinds) <= seen.keys(), "the damage left too little to read"
    common = {"not_utf8", "not_json", "not_object", "too_deep", "missing_field", "bad_value"}
    assert common | {"bad_base64", "unsupported_format"} <= seen.keys()
