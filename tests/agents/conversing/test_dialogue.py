from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mediaserver.agents.conversing.dialogue import Dialogue
from mediaserver.agents.conversing.reply import SHORTEST_REPLY, Reply, ReplyState


@dataclass(eq=False)
class Said:
    """Something the caller says."""

    dropped: bool = False


@dataclass
class Sound:
    """Audio of which the caller has heard some."""

    seconds_heard: float = 0.0
    begins_at: float | None = None


@dataclass
class Shell:
    """Keeps what a dialogue decides, and makes each reply heard as the test says."""

    heard: str = ""
    began: list[Reply] = field(default_factory=list)
    cancelled: list[Reply] = field(default_factory=list)
    settled: list[Reply] = field(default_factory=list)
    reported: list[Reply] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dialogue = Dialogue(
            begin=self.began.append,
            cancel=self.cancelled.append,
            settle=self.settle,
            report=self.reported.append,
            clock=lambda: 7.0,
        )

    def settle(self, reply: Reply) -> None:
        reply.heard = self.heard
        self.settled.append(reply)


def reply(caller: str = "Hello?") -> Reply:
    return Reply(None, since=0.0, caller=caller)


@pytest.fixture
def shell() -> Shell:
    return Shell()


def owed(shell: Shell, caller: str = "Hello?") -> Reply:
    """Have a reply owed, which begins at once if nothing is in its way."""
    made = reply(caller)
    shell.dialogue.owe(made)
    return made


# When a reply begins.


def test_a_reply_begins_at_once_when_nothing_is_in_its_way(shell: Shell) -> None:
    made = owed(shell)
    assert shell.began == [made]
    assert shell.dialogue.current is made
    assert (made.state, made.number) == (ReplyState.THINKING, 1)


def test_turns_are_numbered_as_they_begin(shell: Shell) -> None:
    for _ in range(3):
        shell.dialogue.finish(owed(shell))
    assert [each.number for each in shell.reported] == [1, 2, 3]


def test_a_reply_waits_until_the_words_of_the_caller_are_known(shell: Shell) -> None:
    said = Said()
    shell.dialogue.speaks(said)
    made = owed(shell)
    assert (made.state, shell.began) == (ReplyState.OWED, [])
    shell.dialogue.understood(said)
    shell.dialogue.go_on()
    assert shell.began == [made]


def test_a_reply_does_not_wait_for_what_was_dropped(shell: Shell) -> None:
    shell.dialogue.speaks(Said(dropped=True))
    assert shell.began == [owed(shell)]


def test_a_reply_waits_while_more_keys_may_come(shell: Shell) -> None:
    shell.dialogue.presses()
    made = owed(shell)
    assert shell.began == []
    shell.dialogue.keys_over()
    shell.dialogue.go_on()
    assert shell.began == [made]


def test_a_reply_waits_for_the_one_before(shell: Shell) -> None:
    first, second = owed(shell), owed(shell)
    assert shell.began == [first]
    shell.dialogue.finish(first)
    assert shell.began == [first, second]


def test_what_the_caller_adds_to_a_reply_that_is_owed_is_one_turn_with_it(shell: Shell) -> None:
    shell.dialogue.presses()
    first = owed(shell, "I would like")
    first.turn_ended_at, first.characters, first.speech_seconds = 3.0, 7, 1.5
    second = owed(shell, "a table.")
    shell.dialogue.keys_over()
    shell.dialogue.go_on()
    assert shell.began == [second]
    assert second.caller == "I would like a table."
    assert (second.turn_ended_at, second.characters, second.speech_seconds) == (3.0, 7, 1.5)


def test_there_is_one_reply_at_a_time(shell: Shell) -> None:
    owed(shell)
    with pytest.raises(AssertionError, match="one reply at a time"):
        shell.dialogue.begin(reply())


def test_a_reply_that_cannot_be_started_is_not_the_current_one(shell: Shell) -> None:
    def fail(made: Reply) -> None:
        raise RuntimeError("the stream has ended")

    dialogue = Dialogue(begin=fail, cancel=fail, settle=fail, report=fail, clock=float)
    with pytest.raises(RuntimeError):
        dialogue.begin(reply())
    assert dialogue.current is None


# While it is given.


def test_a_reply_speaks_from_its_first_audio_on(shell: Shell) -> None:
    made = owed(shell)
    first = Sound()
    shell.dialogue.plays(made, first, 2.0)
    shell.dialogue.plays(made, Sound(), 3.0)
    assert made.state is ReplyState.SPEAKING
    assert (made.playback, made.audio_sent_at) == (first, 2.0)


def test_tools_are_used_by_the_current_reply_only(shell: Shell) -> None:
    made = owed(shell)
    seen = []
    for using in (False, True):
        made.using_tools = using
        seen.append(shell.dialogue.using_tools)
    shell.dialogue.finish(made)
    assert [*seen, shell.dialogue.using_tools] == [False, True, False]


# What tools return late.


def using(shell: Shell) -> Reply:
    """Have a reply that waits for a tool."""
    made = owed(shell)
    shell.dialogue.asks(made)
    made.using_tools = True
    shell.dialogue.tool_begins()
    return made


def test_the_reply_that_waits_for_a_tool_tells_its_result(shell: Shell) -> None:
    made = using(shell)
    shell.dialogue.tool_ends(made)
    made.using_tools = False
    shell.dialogue.asks(made)
    shell.dialogue.finish(made)
    assert shell.began == [made]
    assert not made.tells_results


def test_a_result_that_no_reply_waits_for_is_told_at_once_if_nobody_speaks(shell: Shell) -> None:
    late = using(shell)
    shell.dialogue.give_up()
    shell.dialogue.tool_ends(late)
    _, telling = shell.began
    assert (telling.number, telling.caller, telling.since, telling.work) == (2, "", 7.0, None)


def test_a_result_that_comes_during_another_reply_is_told_after_it(shell: Shell) -> None:
    late = using(shell)
    shell.heard = "One moment."
    shell.dialogue.give_way()
    checking = owed(shell, "Hello?")
    shell.dialogue.asks(checking)
    shell.dialogue.tool_ends(late)
    assert shell.began == [late, checking]
    shell.dialogue.finish(checking)
    assert len(shell.began) == 3


def test_a_result_that_comes_while_the_caller_speaks_is_answered_with_what_they_say(
    shell: Shell,
) -> None:
    late, said = using(shell), Said()
    shell.dialogue.speaks(said)
    shell.heard = "One moment."
    shell.dialogue.give_way()
    shell.dialogue.tool_ends(late)
    shell.dialogue.understood(said)
    answer = owed(shell, "Hello?")
    shell.dialogue.asks(answer)
    shell.dialogue.finish(answer)
    assert shell.began == [late, answer]


def test_a_result_that_comes_during_what_turns_out_to_be_noise_is_told(shell: Shell) -> None:
    late, said = using(shell), Said()
    shell.dialogue.give_up()
    shell.dialogue.speaks(said)
    shell.dialogue.tool_ends(late)
    assert shell.began == [late]
    said.dropped = True
    shell.dialogue.go_on()
    assert len(shell.began) == 2


def test_several_results_that_come_during_a_reply_are_told_together(shell: Shell) -> None:
    late = using(shell)
    shell.dialogue.tool_begins()
    shell.dialogue.give_up()
    checking = owed(shell, "Hello?")
    shell.dialogue.asks(checking)
    shell.dialogue.tool_ends(late)
    shell.dialogue.tool_ends(late)
    shell.dialogue.finish(checking)
    shell.dialogue.asks(shell.began[2])
    shell.dialogue.finish(shell.began[2])
    assert len(shell.began) == 3


def test_a_result_is_told_again_if_the_caller_noticed_nothing_of_it(shell: Shell) -> None:
    late = using(shell)
    shell.dialogue.give_up()
    shell.dialogue.tool_ends(late)
    telling, said = shell.began[1], Said()
    shell.dialogue.asks(telling)
    shell.dialogue.speaks(said)
    shell.dialogue.give_way()
    said.dropped = True
    shell.dialogue.go_on()
    assert len(shell.began) == 3


def test_a_reply_that_failed_while_its_tool_ran_leaves_the_result_to_the_next(
    shell: Shell,
) -> None:
    failed = using(shell)
    failed.using_tools = False
    failed.error = "no voice"
    shell.dialogue.tool_ends(failed)
    assert shell.began == [failed]
    shell.dialogue.finish(failed)
    assert len(shell.began) == 2


def test_who_waits_for_a_tool_is_not_silent(shell: Shell) -> None:
    late = using(shell)
    shell.dialogue.give_up()
    assert not shell.dialogue.silent()
    shell.dialogue.tool_ends(late)
    shell.dialogue.finish(shell.began[-1])
    assert shell.dialogue.silent()


def test_an_agent_that_has_left_tells_nothing_any_more(shell: Shell) -> None:
    late = using(shell)
    shell.dialogue.give_up()
    leaving = owed(shell, "Bye.")
    shell.dialogue.tool_ends(late)
    shell.dialogue.close(leaving)
    shell.dialogue.finish(leaving)
    assert shell.began == [late, leaving]


# What the agent says of its own accord.


def added(shell: Shell, *, at_once: bool = False) -> Reply:
    made = reply("")
    made.at_once = at_once
    shell.dialogue.add(made)
    return made


def test_what_it_adds_begins_at_once_when_nothing_is_in_its_way(shell: Shell) -> None:
    made = added(shell)
    assert (shell.began, made.number) == ([made], None)


def test_what_it_adds_waits_for_what_it_says_and_for_one_another(shell: Shell) -> None:
    made = [owed(shell), added(shell), added(shell)]
    for count in (1, 2, 3):
        assert shell.began == made[:count]
        shell.dialogue.finish(made[count - 1])


def test_what_it_adds_waits_for_the_caller_and_for_the_answer_to_them(shell: Shell) -> None:
    said = Said()
    shell.dialogue.speaks(said)
    made = added(shell)
    assert shell.began == []
    shell.dialogue.understood(said)
    answer = owed(shell)
    shell.dialogue.finish(answer)
    assert shell.began == [answer, made]


def test_what_it_adds_waits_for_keys_and_noises(shell: Shell) -> None:
    said = Said()
    shell.dialogue.speaks(said)
    shell.dialogue.presses()
    made = added(shell)
    said.dropped = True
    shell.dialogue.go_on()
    assert shell.began == []
    shell.dialogue.keys_over()
    shell.dialogue.go_on()
    assert shell.began == [made]


def test_what_it_adds_at_once_does_not_wait_for_the_caller(shell: Shell) -> None:
    shell.dialogue.speaks(Said())
    patient, made = added(shell), added(shell, at_once=True)
    assert shell.began == [made]
    shell.dialogue.finish(made)
    patient.at_once = True
    shell.dialogue.go_on()
    assert shell.began == [made, patient]


def test_what_it_adds_is_forgotten_if_withdrawn_or_given_up(shell: Shell) -> None:
    said = Said()
    shell.dialogue.speaks(said)
    shell.dialogue.withdraw(added(shell))
    added(shell)
    shell.dialogue.give_up()
    shell.dialogue.understood(said)
    shell.dialogue.go_on()
    assert shell.began == []


# How it ends.


def test_a_reply_that_was_heard_is_settled_and_reported_once(shell: Shell) -> None:
    made = owed(shell)
    shell.dialogue.finish(made)
    shell.dialogue.abandon(made)
    shell.dialogue.end()
    assert (made.state, made.interrupted) == (ReplyState.FINISHED, False)
    assert (shell.settled, shell.reported) == ([made], [made])
    assert shell.dialogue.current is None


def test_a_reply_without_a_number_is_not_reported(shell: Shell) -> None:
    made = reply("")
    shell.dialogue.begin(made)
    shell.dialogue.finish(made)
    assert (shell.settled, shell.reported) == ([made], [])


@pytest.mark.parametrize(("heard", "seconds"), [("Yes", 0.1), ("", SHORTEST_REPLY)])
def test_a_reply_that_the_caller_noticed_was_interrupted(
    shell: Shell, heard: str, seconds: float
) -> None:
    made = owed(shell)
    shell.dialogue.plays(made, Sound(seconds), 2.0)
    shell.heard = heard
    shell.dialogue.give_way()
    assert made.state is ReplyState.INTERRUPTED
    assert (shell.cancelled, shell.reported) == ([made], [made])
    assert (shell.dialogue.current, shell.dialogue.owed) == (None, None)


@pytest.mark.parametrize("seconds", [None, SHORTEST_REPLY / 2])
def test_a_reply_that_the_caller_did_not_notice_is_given_again_as_the_same_turn(
    shell: Shell, seconds: float | None
) -> None:
    said = Said()
    made = owed(shell)
    if seconds is not None:
        shell.dialogue.plays(made, Sound(seconds), 2.0)
    shell.dialogue.speaks(said)
    shell.dialogue.give_way()
    assert (made.state, shell.reported) == (ReplyState.GIVEN_UP, [])
    said.dropped = True
    shell.dialogue.go_on()
    _, again = shell.began
    assert again is not made
    assert (again.number, again.caller, again.state) == (1, "Hello?", ReplyState.THINKING)
    shell.dialogue.finish(again)
    assert shell.reported == [again]


def test_a_reply_to_nobody_is_not_given_again(shell: Shell) -> None:
    shell.dialogue.owe(Reply(0, since=0.0))
    shell.dialogue.give_way()
    assert (shell.dialogue.owed, shell.reported) == (None, [])


def test_the_shell_may_say_what_is_still_owed(shell: Shell) -> None:
    ignore = shell.began.append
    dialogue = Dialogue(
        begin=ignore,
        cancel=ignore,
        settle=ignore,
        report=ignore,
        clock=float,
        still_owed=lambda reply: True,
    )
    greeting = Reply(0, since=0.0)
    dialogue.owe(greeting)
    dialogue.give_way()
    assert dialogue.owed is greeting


def test_after_giving_up_nothing_is_owed(shell: Shell) -> None:
    made = owed(shell)
    shell.dialogue.give_up()
    assert (made.state, shell.dialogue.owed) == (ReplyState.GIVEN_UP, None)
    shell.dialogue.go_on()
    assert shell.began == [made]


def test_with_no_reply_there_is_nothing_to_stop(shell: Shell) -> None:
    shell.dialogue.give_way()
    assert shell.settled == shell.cancelled == []


def test_nothing_interrupts_an_agent_that_leaves(shell: Shell) -> None:
    made = owed(shell)
    shell.dialogue.close(made)
    shell.dialogue.give_way()
    assert (made.state, shell.dialogue.current) == (ReplyState.CLOSING, made)
    shell.dialogue.end()
    assert (made.state, made.interrupted) == (ReplyState.FINISHED, False)


@pytest.mark.parametrize(
    ("plays", "state"), [(True, ReplyState.SPEAKING), (False, ReplyState.THINKING)]
)
def test_an_agent_that_may_not_leave_goes_on(shell: Shell, plays: bool, state: ReplyState) -> None:
    made = owed(shell)
    if plays:
        shell.dialogue.plays(made, Sound(), 2.0)
    shell.dialogue.close(made)
    shell.dialogue.reopen(made)
    assert made.state is state
    shell.dialogue.give_way()
    assert made.interrupted


# The end of the stream.


def test_at_the_end_the_current_reply_is_interrupted_though_nothing_was_heard(
    shell: Shell,
) -> None:
    made = owed(shell)
    shell.dialogue.end()
    assert made.state is ReplyState.INTERRUPTED
    assert shell.reported == [made]


def test_at_the_end_a_reply_that_was_not_given_again_is_reported(shell: Shell) -> None:
    made = owed(shell)
    shell.dialogue.speaks(Said())
    shell.dialogue.give_way()
    shell.dialogue.end()
    assert shell.reported == [made]
    assert made.interrupted


def test_at_the_end_a_reply_that_never_began_is_not_reported(shell: Shell) -> None:
    shell.dialogue.presses()
    owed(shell)
    shell.dialogue.end()
    assert shell.reported == shell.settled == []


def test_after_the_end_nothing_begins(shell: Shell) -> None:
    shell.dialogue.end()
    owed(shell)
    assert shell.began == []


# What is counted.


def test_silence_counts_only_when_nothing_is_under_way(shell: Shell) -> None:
    dialogue = shell.dialogue
    assert dialogue.silent()
    assert dialogue.silent()
    said = Said()
    dialogue.speaks(said)
    assert not dialogue.silent()
    owed(shell)
    assert not dialogue.silent()
    dialogue.understood(said)
    dialogue.go_on()
    assert not dialogue.silent()
    assert dialogue.silences == 2
    dialogue.is_there()
    assert dialogue.silences == 0


def test_a_turn_that_works_forgives_those_that_failed(shell: Shell) -> None:
    dialogue = shell.dialogue
    dialogue.failures = 2
    failed = owed(shell)
    failed.error = "gone"
    dialogue.finish(failed)
    spontaneous = reply("")
    dialogue.begin(spontaneous)
    dialogue.finish(spontaneous)
    dialogue.abandon(owed(shell))
    assert dialogue.failures == 2
    dialogue.finish(owed(shell))
    assert dialogue.failures == 0


# Whatever happens.


class AnyDialogue(RuleBasedStateMachine):
    """Has all of it happen in any order, as the shell may have it."""

    @initialize()
    def begin(self) -> None:
        self.shell = Shell()
        self.dialogue = self.shell.dialogue
        self.said: list[Said] = []
        self.stopped: set[Reply] = set()
        self.tools: list[Reply] = []
        self.added: list[Reply] = []

    @rule()
    def the_caller_speaks(self) -> None:
        self.said.append(Said())
        self.dialogue.speaks(self.said[-1])

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def it_is_noise(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.said)).dropped = True
        self.dialogue.go_on()

    @precondition(lambda self: self.said)
    @rule(data=st.data())
    def it_is_no_noise_after_all(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.said)).dropped = False

    @precondition(lambda self: self.said)
    @rule(data=st.data(), words=st.sampled_from(["", "Yes."]), interrupts=st.booleans())
    def it_is_understood(self, data: st.DataObject, words: str, interrupts: bool) -> None:
        said = data.draw(st.sampled_from(self.said))
        self.said.remove(said)
        self.dialogue.understood(said)
        if said.dropped or not words:
            self.dialogue.go_on()
            return
        if interrupts:
            self.dialogue.give_way()
        self.dialogue.owe(reply(words))

    @rule()
    def a_key_is_pressed(self) -> None:
        self.dialogue.give_way()
        self.dialogue.presses()

    @rule()
    def the_keys_are_taken(self) -> None:
        self.dialogue.keys_over()
        self.dialogue.owe(reply("[pressed 1]"))

    @precondition(lambda self: self.dialogue.hearing)
    @rule(heard=st.sampled_from(["", "Well"]))
    def the_caller_interrupts(self, heard: str) -> None:
        self.shell.heard = heard
        self.dialogue.give_way()

    @precondition(lambda self: self.dialogue.current is not None)
    @rule()
    def the_model_uses_a_tool(self) -> None:
        current = self.dialogue.current
        assert current is not None
        self.dialogue.asks(current)
        current.using_tools = True
        self.dialogue.tool_begins()
        self.tools.append(current)

    @precondition(lambda self: self.tools)
    @rule(data=st.data())
    def a_tool_returns(self, data: st.DataObject) -> None:
        used = data.draw(st.sampled_from(self.tools))
        self.tools.remove(used)
        self.dialogue.tool_ends(used)

    @rule()
    def the_application_interrupts(self) -> None:
        self.dialogue.give_up()

    @rule(at_once=st.booleans())
    def the_agent_says_something_of_its_own_accord(self, at_once: bool) -> None:
        self.added.append(added(self.shell, at_once=at_once))

    @precondition(lambda self: self.added)
    @rule()
    def it_does_not_say_it_after_all(self) -> None:
        self.dialogue.withdraw(self.added[-1])

    @precondition(lambda self: self.dialogue.current is not None)
    @rule(seconds=st.sampled_from([0.1, 1.0]))
    def it_plays(self, seconds: float) -> None:
        assert self.dialogue.current is not None
        self.dialogue.plays(self.dialogue.current, Sound(seconds), 1.0)

    @precondition(lambda self: self.dialogue.current is not None)
    @rule(refused=st.booleans())
    def it_leaves(self, refused: bool) -> None:
        current = self.dialogue.current
        assert current is not None
        if current.state is not ReplyState.CLOSING:
            self.dialogue.close(current)
        if refused:
            self.dialogue.reopen(current)

    @precondition(lambda self: self.dialogue.current is not None)
    @rule(done=st.booleans())
    def its_work_ends(self, done: bool) -> None:
        assert self.dialogue.current is not None
        if done:
            self.dialogue.finish(self.dialogue.current)
        else:
            self.dialogue.abandon(self.dialogue.current)
            self.dialogue.go_on()

    @precondition(lambda self: set(self.shell.cancelled) - self.stopped)
    @rule()
    def a_cancelled_task_stops_late(self) -> None:
        late = next(each for each in self.shell.cancelled if each not in self.stopped)
        self.stopped.add(late)
        self.dialogue.abandon(late)

    @rule()
    def the_stream_ends(self) -> None:
        self.dialogue.end()

    @invariant()
    def one_reply_is_given_at_a_time(self) -> None:
        given = [each for each in self.shell.began if not each.settled]
        current = self.dialogue.current
        assert given == ([] if current is None else [current])

    @invariant()
    def each_reply_is_settled_and_reported_at_most_once(self) -> None:
        assert len(self.shell.settled) == len(set(self.shell.settled))
        numbers = [each.number for each in self.shell.reported]
        assert len(numbers) == len(set(numbers))
        assert None not in numbers

    @invariant()
    def nothing_is_owed_when_nothing_is_in_its_way(self) -> None:
        dialogue = self.dialogue
        in_the_way = dialogue.current is not None or dialogue.hearing or dialogue.ended
        waiting = dialogue.owed or dialogue.unanswered or dialogue.added
        assert not waiting or in_the_way

    @invariant()
    def every_reply_that_is_over_and_was_noticed_is_reported(self) -> None:
        for each in self.shell.began:
            if each.state in (ReplyState.FINISHED, ReplyState.INTERRUPTED) and each.number:
                assert each in self.shell.reported


TestAnyDialogue = AnyDialogue.TestCase
TestAnyDialogue.settings = settings(stateful_step_count=30)
