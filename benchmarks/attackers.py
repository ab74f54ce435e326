"""Attackers of a server, for `benchmarks.hostile`, which starts each as a process of its own.

    python -m benchmarks.attackers NAME ws://127.0.0.1:PORT/stream SECONDS

Prints what became of it, as JSON. It stops by itself, and refuses every address but loopback. It
imports nothing of the server, so that it attacks as soon as it is started.
"""

import contextlib
import json
import resource
import select
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count
from urllib.parse import urlsplit


LOOPBACK = "127.0.0.1"
CONNECTIONS = 4
"""Connections on which each flood comes."""
BLOCK_BYTES = 262_144
IDLE_AT_ONCE = 5_000
IDLE_PER_SECOND = 100
_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass
class Tally:
    """What one attacker did.

    Attributes:
        connections: how many it opened.
        megabytes: how much it sent.
        ends: how its WebSockets ended: the close code, or `cut`, or `open` at the end.

    """

    connections: int = 0
    megabytes: float = 0.0
    ends: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        """Add what another connection did."""
        self.connections += other.connections
        self.megabytes += other.megabytes
        self.ends = dict(Counter(self.ends) + Counter(other.ends))


def frame(payload: bytes, opcode: int = 0x81) -> bytes:
    """Return a frame whose mask changes nothing."""
    size = len(payload)
    if size < 126:
        header = bytes([opcode, 0x80 | size])
    elif size < 65_536:
        header = bytes([opcode, 0xFE]) + size.to_bytes(2, "big")
    else:
        header = bytes([opcode, 0xFF]) + size.to_bytes(8, "big")
    return header + bytes(4) + payload


def event(name: str, /, **fields: object) -> bytes:
    """Return a message of Plivo's in a frame."""
    return frame(json.dumps({"event": name, "streamId": "attacker"} | fields).encode())


def start(call_id: str = "attacker") -> bytes:
    """Return a start event."""
    fields = {"callId": call_id, "streamId": "attacker", "accountId": "MA", "tracks": ["inbound"]}
    format = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
    return event("start", start=fields | {"mediaFormat": format})


def repeated(message: bytes) -> Iterator[bytes]:
    """Yield blocks of the same frame."""
    block = message * max(1, BLOCK_BYTES // len(message))
    while True:
        yield block


def tracks() -> Iterator[bytes]:
    """Yield media of ever new tracks."""
    for number in count():
        names = (f"track {number}.{each} {'x' * 100}" for each in range(500))
        yield b"".join(event("media", media={"payload": "AA==", "track": name}) for name in names)


FLOODS: dict[str, Callable[[], Iterator[bytes]]] = {
    "new tracks": tracks,
    "empty fragments": lambda: repeated(frame(b"", 0x00)),
    "repeated start": lambda: repeated(start()),
    "unknown events": lambda: repeated(event("mystery")),
    "unknown checkpoints": lambda: repeated(event("playedStream", name="nobody's")),
    "empty payloads": lambda: repeated(event("media", media={"payload": ""})),
    "one-byte payloads": lambda: repeated(event("media", media={"payload": "AA=="})),
    "pings": lambda: repeated(frame(b"", 0x89)),
    "long messages": lambda: repeated(event("mystery", much=[[[]]] * 8_000)),
    "long reasons": lambda: repeated(event("error", reason="x" * 60_000)),
    "unread log": lambda: repeated(event("error", reason="x" * 6_000)),
}
"""What each flood sends after its start."""

RAISED = ("own", "generator-exit", "group", "system-exit", "interrupt", "error", "constant")
"""What the handler raises; see `servers/beside_attackers.py`."""

ATTACKERS = ("nobody", "idle connections", *FLOODS, "long ids", "raising handlers")


def main(name: str, url: str, seconds: float) -> Tally:
    """Attack for some seconds."""
    address = urlsplit(url)
    if address.hostname != LOOPBACK or not 0 < seconds <= 600:
        raise SystemExit(f"attacks only {LOOPBACK}, and for at most 600 s")
    end = time.monotonic() + seconds
    port, path = address.port or 80, address.path
    if name == "nobody":
        return Tally()
    if name == "idle connections":
        return idle(port, end)
    attacks: list[Callable[[], Tally]]
    if name == "raising handlers":
        attacks = [
            partial(one_by_one, port, f"{path}?raise={kind}", start(), end) for kind in RAISED
        ]
    elif name == "long ids":
        attacks = [partial(one_by_one, port, path, start("x" * 60_000), end)] * CONNECTIONS
    else:
        # The fragments continue a message that never ends.
        opening = start() + (frame(b"{", 0x01) if name == "empty fragments" else b"")
        attacks = [partial(flood, port, path, opening, FLOODS[name], end)] * CONNECTIONS
    return together(attacks)


def together(attacks: list[Callable[[], Tally]]) -> Tally:
    """Run attacks in a thread each, and add them up."""
    total, lock = Tally(), threading.Lock()

    def run(attack: Callable[[], Tally]) -> None:
        tally = attack()
        with lock:
            total.add(tally)

    threads = [threading.Thread(target=run, args=(attack,)) for attack in attacks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def idle(port: int, end: float) -> Tally:
    """Open connections and say nothing."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    at_once = min(IDLE_AT_ONCE, hard - 1_000)
    tally, ends = Tally(), Counter[str]()
    with contextlib.ExitStack() as stack:
        while time.monotonic() < end:
            try:
                stack.enter_context(socket.create_connection((LOOPBACK, port), timeout=1.0))
                tally.connections += 1
            except OSError:
                ends["cut"] += 1
            if tally.connections + ends["cut"] >= at_once:
                time.sleep(1 / IDLE_PER_SECOND)
    tally.ends = dict(ends)
    return tally


def one_by_one(port: int, path: str, opening: bytes, end: float) -> Tally:
    """Open streams, and wait until each is closed before the next; at most 20 a second."""
    total = Tally()
    while time.monotonic() < end:
        until = min(end, time.monotonic() + 1.0)
        total.add(one(port, path, opening, iter(()), until))
        time.sleep(0.05)
    return total


def flood(
    port: int, path: str, opening: bytes, blocks: Callable[[], Iterator[bytes]], end: float
) -> Tally:
    """Send as much as the server takes; if it closes, connect again at once."""
    total = Tally()
    while time.monotonic() < end:
        tally = one(port, path, opening, blocks(), end)
        total.add(tally)
        if not tally.connections:
            time.sleep(0.05)
    return total


def one(port: int, path: str, opening: bytes, blocks: Iterator[bytes], end: float) -> Tally:
    """Send blocks on one stream until it is closed."""
    tally, received, sent = Tally(), b"", 0
    how = "cut"
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection((LOOPBACK, port), timeout=1.0))
        sock.sendall(_UPGRADE.format(path=path, host=f"{LOOPBACK}:{port}").encode())
        while b"\r\n\r\n" not in received and (data := sock.recv(4096)):
            received += data
        head, _, received = received.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            how = head[9:12].decode() or "cut"
            raise OSError
        tally.connections = 1
        unsent = memoryview(opening)
        how = "open"
        while time.monotonic() < end:
            unsent = unsent or memoryview(next(blocks, b""))
            readable, writable, _ = select.select([sock], [sock] if unsent else [], [], 0.1)
            if readable:
                if not (data := sock.recv(65_536)):
                    how = "cut"
                    break
                code, received = close_code(received + data)
                if code is not None:
                    how = str(code)
                    break
            if writable:
                taken = sock.send(unsent[:65_536])
                unsent = unsent[taken:]
                sent += taken
    tally.megabytes = sent / 1e6
    tally.ends = {how: 1}
    return tally


def close_code(data: bytes) -> tuple[int | None, bytes]:
    """Return the code of a close frame, if one came, and what is left of other frames."""
    while len(data) >= 2:
        size, body = data[1], 2
        if size == 126:
            size, body = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, body = int.from_bytes(data[2:10], "big"), 10
        if len(data) < body + size:
            break
        if data[0] == 0x88:
            return int.from_bytes(data[body : body + 2], "big"), b""
        data = data[body + size :]
    return None, data


if __name__ == "__main__":
    print(json.dumps(asdict(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))))
