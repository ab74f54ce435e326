"""What OpenAI's transcription sessions hear, item by item, in the order of the audio. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from mediaserver.agents.services.errors import ServiceError
from mediaserver.agents.services.realtime import CallerFinished, CallerSpeaks
from mediaserver.agents.services.recognizer import (
    RecognizedWords,
    RecognizerEvent,
    WordsComplete,
)


class HeardItem:
    """A stretch of audio that is transcribed as a whole.

    Attributes:
        start: seconds of the session's audio before it.
        end: seconds of the session's audio to its end; None while it goes on.
        id: the API's name for it, once that is known.
        text: its words so far.
        final: whether its words will not change any more.
        seconds: seconds of audio that are charged for.
        failure: why it could not be transcribed, or None.
        is_turn: whether it is a turn of the caller that the API has taken.
        begun: whether it was told that the turn has begun.
        told: the words that were told of it.

    """

    __slots__ = (
        "begun",
        "end",
        "failure",
        "final",
        "id",
        "is_turn",
        "seconds",
        "start",
        "text",
        "told",
    )

    def __init__(self, start: float, item_id: str | None = None) -> None:
        self.start = start
        self.end: float | None = None
        self.id = item_id
        self.text = ""
        self.final = False
        self.seconds = 0.0
        self.failure: ServiceError | None = None
        self.is_turn = item_id is not None
        self.begun = False
        self.told = ""


class HeardItems:
    """The items of a session whose words have not all been told, the oldest first.

    The API transcribes items side by side, and may be done with a later one first. Words are told
    of the oldest only, so that each event begins after the final words before it. A turn of the
    caller is over when its words are final.

    Attributes:
        heard: seconds of audio that the session was given.

    """

    def __init__(self) -> None:
        self.heard = 0.0
        self._items: deque[HeardItem] = deque()
        # The items that were committed, and have no answer yet, with the names of the requests.
        self._committed: deque[tuple[str, HeardItem]] = deque()
        # What was asked to be finished: seconds of audio, and the last item before it.
        self._finishing: deque[tuple[float, HeardItem | None]] = deque()
        self._through = 0.0  # where the final words end
        self._failure: ServiceError | None = None

    @property
    def open(self) -> HeardItem | None:
        """The item that goes on; None if there is none."""
        last = self._items[-1] if self._items else None
        return last if last is not None and last.end is None else None

    # The audio.

    def begin(self, start: float, item_id: str | None = None) -> None:
        """Begin an item `start` seconds after the beginning of the audio.

        It is a turn of the caller if the API names it.
        """
        if (former := self.open) is not None:
            former.end = max(former.start, start)
        last = self._items[-1].end if self._items else None
        self._items.append(HeardItem(max(start, last or self._through), item_id))

    def end(self, item_id: str, end: float) -> None:
        """End an item that the API ends by itself."""
        item = self._named(item_id) or self.open
        if item is not None and item.end is None:
            item.end = min(max(end, item.start), self.heard)

    def commit(self, name: str) -> bool:
        """End the item that goes on, if there is one, as a request of that name commits it."""
        item = self.open
        if item is None:
            return False
        item.end = self.heard
        self._committed.append((name, item))
        return True

    def finish(self) -> bool:
        """Note that all words so far are asked for; return whether they have been told."""
        self._finishing.append((self.heard, self._items[-1] if self._items else None))
        return not self._items

    # What the API says.

    def committed(self, item_id: str) -> None:
        """Note the name of an item that was committed, by a request or by the API itself."""
        item = self._named(item_id)
        if item is not None:
            self._committed = deque(each for each in self._committed if each[1] is not item)
        elif self._committed:
            self._committed.popleft()[1].id = item_id
        else:
            if self.open is None:
                self.begin(0.0)
            self._items[-1].id, self._items[-1].end = item_id, self.heard

    def refused(self, name: str | None) -> bool:
        """Note that there was nothing to commit; return whether a request so named had asked."""
        for each in self._committed:
            if each[0] == name:
                self._committed.remove(each)
                # An item with a name is committed by the API itself.
                each[1].final = each[1].id is None
                return True
        return False

    def added(self, item_id: str, delta: str) -> None:
        """Take a piece of an item's words, which may come before the item is committed."""
        item = self._named(item_id)
        if item is None:
            item = next((each for each in self._items if each.id is None), None)
            if item is None:
                return
            item.id = item_id
        if not item.final:
            item.text += delta

    def transcribed(self, item_id: str, text: str, seconds: float) -> None:
        """Take the final words of an item."""
        item = self._named(item_id)
        if item is not None:
            item.text, item.seconds, item.final = text, seconds, True

    def failed(self, item_id: str, failure: ServiceError) -> None:
        """Note that an item could not be transcribed."""
        item = self._named(item_id)
        if item is not None:
            item.text, item.failure, item.final = "", failure, True

    def news(self) -> Iterator[RecognizerEvent]:
        """Yield what has changed since this was called last."""
        yield from self._answers()
        while self._items:
            item = self._items[0]
            if item.is_turn and not item.begun:
                item.begun = True
                yield CallerSpeaks()
            if not item.final:
                break
            self._items.popleft()
            self._through = self.heard if item.end is None else item.end
            self._failure = self._failure or item.failure
            if item.text or item.told or item.seconds:
                yield self._words(item)
            if item.is_turn:
                yield CallerFinished()
            yield from self._answers()
        if self._items and (item := self._items[0]).text.strip() != item.told:
            item.told = item.text.strip()
            yield self._words(item)

    def _answers(self) -> Iterator[WordsComplete]:
        while self._finishing and self._finishing[0][1] not in self._items:
            through, _ = self._finishing.popleft()
            failure, self._failure = self._failure, None
            yield WordsComplete(through, failure)

    def _words(self, item: HeardItem) -> RecognizedWords:
        return RecognizedWords(
            item.text.strip(),
            item.start,
            self.heard if item.end is None else item.end,
            final=item.final,
            seconds=item.seconds,
        )

    def _named(self, item_id: str) -> HeardItem | None:
        return next((each for each in self._items if each.id == item_id), None)
