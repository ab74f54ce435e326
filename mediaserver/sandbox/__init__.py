"""The carrier's side of a call: a phone that calls any server speaking Plivo's stream protocol.

It shares no code with the server but the protocol and the codecs: what one of them gets wrong
shows on the other.
"""

from mediaserver.sandbox.calling import CallOptions, KeyPress, place_call
from mediaserver.sandbox.dialling import CallFailed
from mediaserver.sandbox.load import LoadProgress, LoadReport, Spread, load
from mediaserver.sandbox.misbehaviour import MISBEHAVIOURS, Misbehaviour
from mediaserver.sandbox.phone import CallEnded, Phone
from mediaserver.sandbox.playback import PlaybackBuffer
from mediaserver.sandbox.report import CallReport
from mediaserver.sandbox.uplink import StreamIdentity


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
    "load",
    "place_call",
]
