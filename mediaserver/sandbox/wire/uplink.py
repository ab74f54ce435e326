"""What the carrier sends on one stream: `start`, frames, keys, and answers to the server."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from itertools import cycle
from random import Random

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
from mediaserver.sandbox.wire.messages import MediaEncoder, StreamIdentity, WireMessage
from mediaserver.sandbox.wire.misbehaviour import Misbehaviour


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
"""Messages that are not valid events, for the misbehaviour `garbage`."""


class Uplink:
    """Turns the passing of 20 ms ticks into the messages of one stream, in sending order.

    A frame leaves when its 20 ms are over: tick `n` sends the frame that covers tick `n - 1`.

    Args:
        identity: Ids of the stream.
        format: Format of the stream.
        tracks: Tracks to send, in the order in which they are sent.
        extra_headers_text: Text of `extra_headers`, repeated on media and dtmf as Plivo does.
        epoch_ms: Unix time of the start of the stream, in milliseconds.
        misbehaviour: What to do wrong.
        seed: Seed of the random choices of a misbehaviour.

    Attributes:
        ticks: Ticks done so far.
        position: Bytes of each track taken so far: where the next frame begins.

    """

    def __init__(
        self,
        identity: StreamIdentity,
        format: AudioFormat,
        *,
        tracks: tuple[str, ...] = ("inbound",),
        extra_headers_text: str = "",
        epoch_ms: int = 0,
        misbehaviour: Misbehaviour | None = None,
        seed: int = 0,
    ) -> None:
        self.ticks = 0
        self.position = 0
        self._identity = identity
        self._format = format
        self._tracks = tracks
        self._frame_bytes = format.rate // TICKS_PER_SECOND * format.sample_bytes
        self._extra_headers_text = extra_headers_text
        self._epoch_ms = epoch_ms
        self._wrong = misbehaviour or Misbehaviour()
        self._behaves = not self._wrong
        self._random = Random(seed)
        self._encoders = [
            MediaEncoder(identity.stream_id, track, extra_headers_text) for track in tracks
        ]
        self._sequence = 0
        self._chunk = 0
        # Frames cut but held back: the tick to send them at, position in bytes, payloads.
        self._held: deque[tuple[int, int, Sequence[bytes]]] = deque()
        # Audio of each track that is not yet enough for an odd-sized frame, and where it begins.
        self._odd = [bytearray() for _ in tracks]
        self._odd_size = self._odd_frame_bytes()
        self._odd_position = 0
        # Every other pair of frames is swapped: the first of a pair waits here.
        self._swap: list[WireMessage] = []
        self._frames = 0
        self._garbage = cycle(GARBAGE)

    def opening(self) -> list[WireMessage]:
        """Return the messages at the start of the stream."""
        messages: list[WireMessage] = []
        if self._wrong.media_before_start:
            silence = self._format.silence * (self._frame_bytes // self._format.sample_bytes)
            for _ in range(3):
                messages += self._media(0, [silence] * len(self._tracks))
        if not self._wrong.no_start:
            messages.append(self._start())
        return messages

    def reopening(self, identity: StreamIdentity) -> list[WireMessage]:
        """Return the messages at the start of the stream when it is opened again.

        Numbers begin anew, and nothing is sent that was held back.
        """
        self._identity = identity
        self._encoders = [
            MediaEncoder(identity.stream_id, track, self._extra_headers_text)
            for track in self._tracks
        ]
        self._sequence = self._chunk = 0
        self._held.clear()
        self._swap = []
        for odd in self._odd:
            odd.clear()
        return [] if self._wrong.no_start else [self._start()]

    def frame(self, payloads: Sequence[bytes]) -> list[WireMessage]:
        """Return the messages that are due when 20 ms more of audio are over.

        Args:
            payloads: 20 ms of each track, in the order of `tracks`.

        """
        self.ticks += 1
        position = self.position
        self.position += self._frame_bytes
        if self._behaves:
            return self._media(position, payloads)
        return self._misbehave(position, payloads)

    def dtmf(self, digit: str, seconds: float) -> list[WireMessage]:
        """Return the message for a key that the caller presses at `seconds` of the stream."""
        return self._event(
            Dtmf(
                digit,
                track="inbound",
                timestamp=self._epoch_ms + round(seconds * 1000),
                stream_id=self._identity.stream_id,
                sequence_number=self._sequence + 1,
                extra_headers_text=self._extra_headers_text,
            )
        )

    def played(self, name: str) -> list[WireMessage]:
        """Return the acknowledgement of a checkpoint."""
        if self._wrong.no_acks:
            return []
        stream_id = self._identity.stream_id
        return self._event(PlayedStream(name, stream_id, self._sequence + 1))

    def cleared(self, checkpoints: tuple[str, ...]) -> list[WireMessage]:
        """Return the answer to a clear that dropped `checkpoints`."""
        messages: list[WireMessage] = []
        if not self._wrong.no_cleared:
            stream_id = self._identity.stream_id
            messages += self._event(ClearedAudio(stream_id, self._sequence + 1))
        if self._wrong.acks_cleared:
            for name in checkpoints:
                messages += self.played(name)
        return messages

    def stop(self) -> list[WireMessage]:
        """Return a `stop` event: some of Plivo's documents have it, its reference does not."""
        return self._event(
            Stop("", stream_id=self._identity.stream_id, sequence_number=self._sequence + 1)
        )

    def _misbehave(self, position: int, payloads: Sequence[bytes]) -> list[WireMessage]:
        tick, wrong = self.ticks, self._wrong
        if self._has_stopped_sending(tick - 1):
            return []
        messages: list[WireMessage] = []
        if wrong.duplicate_start and tick == TICKS_PER_SECOND:
            messages.append(self._start())
        if wrong.oversize is not None and tick == int(wrong.oversize * TICKS_PER_SECOND) + 1:
            messages += self._media(position, [bytes(_OVERSIZE_PAYLOAD)] * len(payloads))
        if wrong.garbage and tick % 10 == 0:
            messages.append(self._as_sent(next(self._garbage)))
        if wrong.odd_sizes:
            for where, pieces in self._odd_pieces(position, payloads):
                self._held.append((self._release(tick), where, pieces))
        else:
            self._held.append((self._release(tick), position, payloads))
        while self._held and self._held[0][0] <= tick:
            _, where, pieces = self._held.popleft()
            messages += self._in_some_order(self._media(where, pieces))
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

    def _odd_pieces(
        self, position: int, payloads: Sequence[bytes]
    ) -> list[tuple[int, Sequence[bytes]]]:
        if not self._odd[0]:
            self._odd_position = position
        for odd, payload in zip(self._odd, payloads, strict=True):
            odd += payload
        pieces: list[tuple[int, Sequence[bytes]]] = []
        while len(self._odd[0]) >= self._odd_size:
            size = self._odd_size
            pieces.append((self._odd_position, [bytes(odd[:size]) for odd in self._odd]))
            for odd in self._odd:
                del odd[:size]
            self._odd_position += size
            self._odd_size = self._odd_frame_bytes()
        return pieces

    def _odd_frame_bytes(self) -> int:
        """Return a frame size of one sample up to 80 ms, never 20 ms, in whole samples."""
        sample_bytes = self._format.sample_bytes
        size = self._random.randint(1, 4 * self._frame_bytes // sample_bytes) * sample_bytes
        return size if size != self._frame_bytes else size + sample_bytes

    def _in_some_order(self, messages: list[WireMessage]) -> list[WireMessage]:
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

    def _media(self, position: int, payloads: Sequence[bytes]) -> list[WireMessage]:
        self._chunk += 1
        timestamp = self._epoch_ms + position * 1000 // self._format.bytes_per_second
        messages: list[WireMessage] = []
        for encode, payload in zip(self._encoders, payloads, strict=True):
            self._sequence += 1
            text = encode(payload, self._sequence, timestamp, self._chunk)
            messages.append(text if self._behaves else self._as_sent(text))
        return messages

    def _start(self) -> WireMessage:
        return self._numbered(
            Start(
                self._identity.call_id,
                self._identity.stream_id,
                self._identity.account_id,
                self._tracks,
                self._format,
                extra_headers_text=self._extra_headers_text,
                sequence_number=self._sequence + 1,
            )
        )

    def _event(self, event: Dtmf | PlayedStream | ClearedAudio | Stop) -> list[WireMessage]:
        return [] if self._has_stopped_sending(self.ticks) else [self._numbered(event)]

    def _has_stopped_sending(self, tick: int) -> bool:
        since = self._wrong.stop_sending
        return since is not None and tick + 1 > since * TICKS_PER_SECOND

    def _numbered(self, event: Start | Dtmf | PlayedStream | ClearedAudio | Stop) -> WireMessage:
        text = encode_event(event)
        # A number that could not be sent goes to the next message.
        self._sequence += 1
        return self._as_sent(text)

    def _as_sent(self, text: str) -> WireMessage:
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
