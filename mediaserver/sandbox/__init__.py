"""The carrier's side of a call: a phone that calls any server speaking Plivo's stream protocol.

It shares only the protocol and the codecs with the server, so that a mistake of one side shows on
the other.
"""

from mediaserver.sandbox.audio.playback import PlaybackBuffer
from mediaserver.sandbox.errors import CallEnded, CallFailed, WaitTimeoutError
from mediaserver.sandbox.phone.load import LoadProgress, LoadReport, Spread, load
from mediaserver.sandbox.phone.phone import Phone
from mediaserver.sandbox.phone.place_call import CallOptions, KeyPress, place_call
from mediaserver.sandbox.phone.report import CallReport
from mediaserver.sandbox.wire.messages import StreamIdentity
from mediaserver.sandbox.wire.misbehaviour import MISBEHAVIOURS, Misbehaviour


__all__ = [
    "MISBEHAVIOURS",
    "CallEnded",
    "CallFailed",
    "CallOptions",
    "CallReport",
    "KeyPress",
    "LoadProgress",
    "LoadReport",
    "Misbehaviour",
    "Phone",
    "PlaybackBuffer",
    "Spread",
    "StreamIdentity",
    "WaitTimeoutError",
    "load",
    "place_call",
]
