"""What the carrier sends: `start`, the caller's frames, keys, and answers to the server."""

from __future__ import annotations

import json
from collections import deque
from itertools import cycle
from random import Random
from typing import TypeAlias

from audiocodecs import AudioFormat
from mediaserver.protocol import (
    ClearedAudio,
    Dtmf,
    PlayedStream,
    Start,
    Stop,
    encode_event,
)
from mediaserver.sandbox.audio.playback import TICKS_PER_SECOND
from mediaserver.sandbox.audio.voice import CallerVoice
from mediaserver.sandbox.wire.messages import MediaEncoder, StreamIdentity
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour


Message: TypeAlias = str | bytes
"""A text message, or a binary one from a phone that misbehaves."""

_OVERSIZE_PAYLOAD = 60_000

GARBAGE: tuple[str, ...] = (
    "",
    "hello",
    '{"event":"media"',
    "[]",
    "null",
    "{}",
    '{"event":null}',
    '{"event":"media"}',
    '{"event":"media","media":{"payload":"not base64!"}}',
    '{"event":"media","media":{"payload":17}}',
    '{"event":"dtmf","dtmf":{"digit":"eleven"}}',
    '{"event":"playedStream"}',
    '{"event":"muteStream"}',
    '{"event":"start","start":[]}',
    '{"a":' * 500,
)
"""Text messages that are no valid events, sent by a phone told to send garbage."""


class Uplink:
    """Turns the passing of 20 ms ticks into the messages of one stream, in sending order.

    A frame leaves when its 20 ms are over: tick `n` sends the frame that covers tick `n - 1`.

    Args:
        voice: What the caller says.
        identity: Ids of the stream.
        tracks: Tracks to send; only `"inbound"` carries the caller, any other is silent.
        extra_headers_text: Text of `extra_headers`, repeated on media and dtmf as Plivo does.
        epoch_ms: Unix time of the start of the stream, in milliseconds.
        misbehaviour: What to do wrong.
        seed: Makes what is random in a misbehaviour the same every time.

    """

    def __init__(
        self,
        voice: CallerVoice,
        identity: StreamIdentity,
        *,
        tracks: tuple[str, ...] = ("inbound",),
        extra_headers_text: str = "",
        epoch_ms: int = 0,
        misbehaviour: Misbehaviour | None = None,
        seed: int = 0,
    ) -> None:
        self.voice = voice
        self.identity = identity
        self.tracks = tracks
        self._format: AudioFormat = voice.format
        self._frame_bytes = self._format.rate // TICKS_PER_SECOND * self._format.sample_bytes
        self._extra_headers_text = extra_headers_text
        self._epoch_ms = epoch_ms
        self._wrong = misbehaviour or Misbehaviour()
        self._random = Random(seed)
        self._encoders = {
            track: MediaEncoder(identity.stream_id, track, extra_headers_text) for track in tracks
        }
        self._tick = 0
        self._sequence = 0
        self._chunk = 0
        # Frames cut but held back: the tick to send them at, position in bytes, payload.
        self._held: deque[tuple[int, int, bytes]] = deque()
        # Audio that is not yet enough for an odd-sized frame, and where it begins.
        self._odd = bytearray()
        self._odd_size = self._odd_frame_bytes()
        self._odd_position = 0
        # Every other pair of frames is swapped: the first of a pair waits here.
        self._swap: list[Message] = []
        self._frames = 0
        self._garbage = cycle(GARBAGE)

    @property
    def ticks(self) -> int:
        """Ticks done so far."""
        return self._tick

    def opening(self) -> list[Message]:
        """Return the messages at the start of the stream."""
        messages: list[Message] = []
        if self._wrong.media_before_start:
            silence = self._format.silence * (self._frame_bytes // self._format.sample_bytes)
            for _ in range(3):
                messages += self._media(0, silence)
        if not self._wrong.no_start:
            messages.append(self._start())
        return messages

    def tick(self, tick: int) -> list[Message]:
        """Return the messages that are due once `tick` ticks of 20 ms are over."""
        messages: list[Message] = []
        while self._tick < tick:
            self._tick += 1
            messages += self._next_tick()
        return messages

    def dtmf(self, digit: str, seconds: float) -> list[Message]:
        """Return the message for a key that the caller presses at `seconds` of the stream."""
        return self._event(
            Dtmf(
                digit,
                track="inbound",
                timestamp=self._epoch_ms + round(seconds * 1000),
                stream_id=self.identity.stream_id,
                sequence_number=self._next_sequence(),
                extra_headers_text=self._extra_headers_text,
            )
        )

    def played(self, name: str) -> list[Message]:
        """Return the acknowledgement of a checkpoint."""
        if self._wrong.no_acks:
            return []
        stream_id = self.identity.stream_id
        return self._event(PlayedStream(name, stream_id, self._next_sequence()))

    def cleared(self, checkpoints: tuple[str, ...]) -> list[Message]:
        """Return the answer to a clear that dropped `checkpoints`."""
        messages: list[Message] = []
        if not self._wrong.no_cleared:
            stream_id = self.identity.stream_id
            messages += self._event(ClearedAudio(stream_id, self._next_sequence()))
        if self._wrong.acks_cleared:
            for name in checkpoints:
                messages += self.played(name)
        return messages

    def stop(self) -> list[Message]:
        """Return the `stop` that some of Plivo's documents have, and its reference has not."""
        return self._event(
            Stop("", stream_id=self.identity.stream_id, sequence_number=self._next_sequence())
        )

    def _next_tick(self) -> list[Message]:
        tick, wrong = self._tick, self._wrong
        if wrong.stop_sending is not None and tick > wrong.stop_sending * TICKS_PER_SECOND:
            self.voice.take(self._frame_bytes)
            return []
        position = self.voice.position
        payload = self.voice.take(self._frame_bytes)
        if not wrong:
            return self._media(position, payload)

        messages: list[Message] = []
        if wrong.duplicate_start and tick == TICKS_PER_SECOND:
            messages.append(self._start())
        if wrong.oversize is not None and tick == int(wrong.oversize * TICKS_PER_SECOND) + 1:
            messages += self._media(position, bytes(_OVERSIZE_PAYLOAD))
        if wrong.garbage and tick % 10 == 0:
            messages.append(self._as_sent(next(self._garbage)))
        if wrong.odd_sizes:
            for where, piece in self._odd_pieces(position, payload):
                self._held.append((self._release(tick), where, piece))
        else:
            self._held.append((self._release(tick), position, payload))
        while self._held and self._held[0][0] <= tick:
            _, where, piece = self._held.popleft()
            messages += self._in_some_order(self._media(where, piece))
        return messages

    def _release(self, tick: int) -> int:
        """Return the tick at which a frame cut at `tick` is sent."""
        release = tick
        if self._wrong.late is not None:
            most = max(1, int(self._wrong.late * TICKS_PER_SECOND))
            release += self._random.randint(0, most)
        if self._wrong.bursts is not None:
            release += -release % self._wrong.bursts
        return max(release, self._held[-1][0]) if self._held else release

    def _odd_pieces(self, position: int, payload: bytes) -> list[tuple[int, bytes]]:
        if not self._odd:
            self._odd_position = position
        self._odd += payload
        pieces: list[tuple[int, bytes]] = []
        while len(self._odd) >= self._odd_size:
            size = self._odd_size
            pieces.append((self._odd_position, bytes(self._odd[:size])))
            del self._odd[:size]
            self._odd_position += size
            self._odd_size = self._odd_frame_bytes()
        return pieces

    def _odd_frame_bytes(self) -> int:
        """Return a frame size of one sample up to 80 ms, never 20 ms, in whole samples."""
        sample_bytes = self._format.sample_bytes
        size = self._random.randint(1, 4 * self._frame_bytes // sample_bytes) * sample_bytes
        return size if size != self._frame_bytes else size + sample_bytes

    def _in_some_order(self, messages: list[Message]) -> list[Message]:
        if not self._wrong.out_of_order:
            return messages
        pair, second = divmod(self._frames, 2)
        self._frames += 1
        if pair % 2:
            return messages
        if not second:
            self._swap = messages
            return []
        swapped, self._swap = messages + self._swap, []
        return swapped

    def _media(self, position: int, payload: bytes) -> list[Message]:
        self._chunk += 1
        timestamp = self._epoch_ms + position * 1000 // self._format.bytes_per_second
        messages: list[Message] = []
        for track, encode in self._encoders.items():
            samples = payload
            if track != "inbound":
                samples = self._format.silence * (len(payload) // self._format.sample_bytes)
            text = encode(samples, self._next_sequence(), timestamp, self._chunk)
            messages.append(self._as_sent(text) if self._wrong else text)
        return messages

    def _start(self) -> Message:
        return self._as_sent(
            encode_event(
                Start(
                    self.identity.call_id,
                    self.identity.stream_id,
                    self.identity.account_id,
                    self.tracks,
                    self._format,
                    extra_headers_text=self._extra_headers_text,
                    sequence_number=self._next_sequence(),
                )
            )
        )

    def _event(self, event: Dtmf | PlayedStream | ClearedAudio | Stop) -> list[Message]:
        return [self._as_sent(encode_event(event))]

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _as_sent(self, text: str) -> Message:
        if self._wrong.string_numbers or self._wrong.missing_numbers:
            text = self._with_odd_numbers(text)
        return text.encode() if self._wrong.binary else text

    def _with_odd_numbers(self, text: str) -> str:
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            return text
        if not isinstance(message, dict):
            return text
        for part in (message, message.get("media"), message.get("dtmf")):
            if not isinstance(part, dict):
                continue
            for name in ("sequenceNumber", "chunk", "timestamp"):
                if self._wrong.missing_numbers:
                    part.pop(name, None)
                elif name in part:
                    part[name] = str(part[name])
        return json.dumps(message, separators=(",", ":"))
