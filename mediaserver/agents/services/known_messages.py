"""Reads messages that say of which type they are."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_args

import msgspec


M = TypeVar("M")


class KnownMessages(Generic[M]):
    """Decodes the messages that matter. A service may send others, and add some without notice.

    Args:
        types: the type of the messages, or the union of their types: structs that are tagged in
            the same field.

    """

    def __init__(self, types: Any) -> None:
        structs = get_args(types) or (types,)
        field = structs[0].__struct_config__.tag_field
        kind = msgspec.defstruct("Kind", [("kind", str, msgspec.field(name=field))], gc=False)
        self._kind: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self._message: msgspec.json.Decoder[M] = msgspec.json.Decoder(types)
        self._known = frozenset(each.__struct_config__.tag for each in structs)

    def decode(self, message: bytes | str) -> M | None:
        """Return a message, or None if it is of no use to an agent.

        Raises:
            ValueError: it is not JSON, or a field is missing or wrong.

        """
        if self._kind.decode(message).kind not in self._known:
            return None
        return self._message.decode(message)
