"""Which reply an agent gives, and when: a state machine without I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

from mediaserver.agents.conversing.reply import Audible, Reply, ReplyState


_NEXT: Final[Mapping[ReplyState, frozenset[ReplyState]]] = {
    ReplyState.OWED: frozenset({ReplyState.THINKING}),
    ReplyState.THINKING: frozenset(set(ReplyState) - {ReplyState.OWED, ReplyState.THINKING}),
    ReplyState.SPEAKING: frozenset(
        {
            ReplyState.CLOSING,
            ReplyState.FINISHED,
            ReplyState.INTERRUPTED,
            ReplyState.GIVEN_UP,
        }
    ),
    ReplyState.CLOSING: frozenset({ReplyState.THINKING, ReplyState.SPEAKING, ReplyState.FINISHED}),
    ReplyState.FINISHED: frozenset(),
    ReplyState.INTERRUPTED: frozenset(),
    ReplyState.GIVEN_UP: frozenset(),
}
"""The transitions of a reply. `CLOSING` goes back where hanging up or transferring is refused."""


class CallerTurn(Protocol):
    """Something the caller says. `Utterance` is one."""

    @property
    def dropped(self) -> bool:
        """Whether it was taken for noise or a backchannel; a transcript may still change that."""


class Dialogue:
    """Holds the replies of one call: the one that is given, and the one that is owed.

    At most one reply is `current`, and at most one is `owed`. The owed reply begins when there is
    no current one, the caller has finished, and the words of everything they said are known::

        owe()            OWED ──────────────┐ as soon as nothing is in its way
        begin()          ──────────────> THINKING ──plays()──> SPEAKING
        give_way()       THINKING, SPEAKING ──> INTERRUPTED, if the caller noticed the reply
                                            ──> GIVEN_UP otherwise; if it is still owed, a new
                                                attempt at it begins when the caller has finished
        close()          THINKING, SPEAKING ──> CLOSING, which nothing interrupts any more
        finish()         any of these       ──> FINISHED

    What the caller says while a reply is owed becomes one turn with it.

    A tool may return after the reply that used it is over, because the caller spoke meanwhile. The
    next time that the model is asked, it is asked with that result::

        tool_begins()    while a tool works, silence does not count
        tool_ends()      a result that no reply waits for is `unanswered`
        asks()           nothing is unanswered any more: the model reads all results so far

    If nothing else has the model asked, a reply that is owed to nobody does, as soon as the caller
    and the agent have finished.

    What the agent says of its own accord comes after that::

        add()            it waits until the caller and the agent have finished and nothing is owed;
                         for the agent only, if it is said `Reply.at_once`

    The callables are called at once, from within the methods.

    Args:
        begin: starts the work of a reply.
        cancel: stops the work of a reply that was interrupted.
        settle: keeps what the caller heard of a reply, in the conversation and in `Reply.heard`.
            Called once for each reply, right before it is over.
        report: reports the turn of a reply. Not called for replies without a number.
        clock: the call's clock.
        still_owed: tells whether a reply that was given up must be given after all.

    Attributes:
        current: the reply that is being given, or None.
        owed: the reply that waits for its beginning, or None.
        unanswered: whether a tool has returned something that the model has not read.
        added: what the agent is going to say of its own accord.
        ended: whether the stream has ended.
        silences: the number of times in a row that both sides were silent for long.
        failures: the number of turns in a row that failed.

    """

    def __init__(
        self,
        *,
        begin: Callable[[Reply], object],
        cancel: Callable[[Reply], object],
        settle: Callable[[Reply], object],
        report: Callable[[Reply], object],
        clock: Callable[[], float],
        still_owed: Callable[[Reply], bool] = lambda reply: bool(reply.caller),
    ) -> None:
        self._start = begin
        self._cancel = cancel
        self._keep = settle
        self._report = report
        self._clock = clock
        self._still_owed = still_owed
        self.current: Reply | None = None
        self.owed: Reply | None = None
        self.unanswered = False
        self.ended = False
        self.silences = 0
        self.failures = 0
        self._turns = 0
        self._tools = 0
        self.added: deque[Reply] = deque()
        # What the caller says, until its words are known; and whether more keys may come.
        self._hearing: set[CallerTurn] = set()
        self._pressing = False

    @property
    def hearing(self) -> bool:
        """Whether the caller has not finished, or some of what they said is not known yet."""
        return self._pressing or not all(turn.dropped for turn in self._hearing)

    @property
    def using_tools(self) -> bool:
        """Whether the current reply waits for tools."""
        return self.current is not None and self.current.using_tools

    # What the caller does.

    def speaks(self, turn: CallerTurn) -> None:
        """The caller began to say something."""
        self._hearing.add(turn)

    def understood(self, turn: CallerTurn) -> None:
        """The words of what the caller said are known, or never will be."""
        self._hearing.discard(turn)

    def is_there(self) -> None:
        """The caller has shown that they are there: silences count anew."""
        self.silences = 0

    def presses(self) -> None:
        """The caller pressed a key, and others may belong to it."""
        self._pressing = True

    def keys_over(self) -> None:
        """No key is awaited any more."""
        self._pressing = False

    def silent(self) -> bool:
        """Both sides have been silent for long. Return whether the agent is to say something."""
        if self.current is not None or self.owed is not None or self.hearing or self._tools:
            return False
        self.silences += 1
        return True

    # What the agent does.

    def owe(self, reply: Reply) -> None:
        """Give `reply` as soon as nothing is in its way, as one turn with what is owed already."""
        former = self.owed
        if former is not None:
            reply.carry_on(former)
            reply.caller = f"{former.caller} {reply.caller}".strip()
        self.owed = reply
        self.go_on()

    def go_on(self) -> None:
        """Begin the reply that is owed, if the caller has finished and the agent has too."""
        if self.current is not None or self.ended:
            return
        if self.hearing or (self.owed is None and not self.unanswered):
            self._begin_added()
            return
        reply, self.owed = self.owed, None
        if reply is None:
            reply = Reply(None, since=self._clock())
            self.asks(reply)
        if reply.settled:
            reply = reply.again()
        if reply.number is None:
            self._turns += 1
            reply.number = self._turns
        self.begin(reply)

    def add(self, reply: Reply) -> None:
        """Give a reply of the agent's own accord, as soon as nothing is in its way."""
        self.added.append(reply)
        self.go_on()

    def withdraw(self, reply: Reply) -> None:
        """Do not give a reply that was added, if it has not begun."""
        with suppress(ValueError):
            self.added.remove(reply)

    def _begin_added(self) -> None:
        for reply in self.added:
            if reply.at_once or not self.hearing:
                self.added.remove(reply)
                self.begin(reply)
                return

    def begin(self, reply: Reply) -> None:
        """Begin a reply. There must be no current one."""
        assert self.current is None, "one reply at a time"
        self._start(reply)
        self._move(reply, ReplyState.THINKING)
        self.current = reply

    def tool_begins(self) -> None:
        """A tool begins to work for the caller."""
        self._tools += 1

    def tool_ends(self, reply: Reply) -> None:
        """A tool that `reply` uses is done, and its result is in the conversation."""
        self._tools -= 1
        if reply is self.current and reply.using_tools:
            return  # it waits for the tool
        self.unanswered = True
        self.go_on()

    def asks(self, reply: Reply) -> None:
        """The model is asked for `reply`, with all results so far."""
        reply.tells_results |= self.unanswered
        self.unanswered = False

    def plays(self, reply: Reply, playback: Audible, at: float) -> None:
        """The first audio of `reply` was played at `at` on the call's clock."""
        if reply.playback is not None:
            return
        reply.playback = playback
        reply.audio_sent_at = at
        if reply.state is ReplyState.THINKING:
            self._move(reply, ReplyState.SPEAKING)

    def close(self, reply: Reply) -> None:
        """The caller has heard all of `reply`, and the call is about to be left."""
        self._move(reply, ReplyState.CLOSING)

    def reopen(self, reply: Reply) -> None:
        """The call could not be left: `reply` goes on."""
        if reply.state is ReplyState.CLOSING:
            self._move(reply, ReplyState.SPEAKING if reply.began else ReplyState.THINKING)

    def finish(self, reply: Reply) -> None:
        """The work of `reply` is done, and the caller has heard all of it."""
        if reply.state is ReplyState.CLOSING:
            self._owe_nothing()  # the call was left
        if reply.error is None and reply.number:
            self.failures = 0
        self.abandon(reply)
        self.go_on()

    def abandon(self, reply: Reply) -> None:
        """The work of `reply` has stopped without being done."""
        if self.current is reply:
            self.current = None
        self._settle(reply)

    def give_way(self) -> None:
        """Stop the current reply for the caller, unless the call is being left."""
        reply = self.current
        if reply is None or reply.state is ReplyState.CLOSING:
            return
        self.current = None
        reply.interrupted = True
        self._settle(reply)
        self._cancel(reply)
        if reply.state is ReplyState.GIVEN_UP:
            self.unanswered |= reply.tells_results
            if self._still_owed(reply):
                self.owed = reply

    def give_up(self) -> None:
        """Stop the current reply, and owe nothing."""
        self.give_way()
        self._owe_nothing()

    def end(self) -> None:
        """The stream has ended: settle and report what there is."""
        self.ended = True
        self._pressing = False
        reply, self.current = self.current, None
        if reply is not None:
            reply.interrupted = reply.state is not ReplyState.CLOSING
            self._settle(reply)
        elif self.owed is not None and self.owed.state is ReplyState.GIVEN_UP:
            self._report(self.owed)

    def _owe_nothing(self) -> None:
        self.owed = None
        self.unanswered = False
        self.added.clear()

    def _settle(self, reply: Reply) -> None:
        if reply.settled:
            return
        self._keep(reply)
        if not reply.interrupted:
            self._move(reply, ReplyState.FINISHED)
        elif reply.was_noticed or self.ended:
            self._move(reply, ReplyState.INTERRUPTED)
        else:
            self._move(reply, ReplyState.GIVEN_UP)
            return
        if reply.number is not None:
            self._report(reply)

    def _move(self, reply: Reply, to: ReplyState) -> None:
        assert to in _NEXT[reply.state], f"a reply does not go from {reply.state} to {to}"
        reply.state = to
