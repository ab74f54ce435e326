import json

from mediaserver.dev.agent_state import AgentState, encode_state, reason_of_end


def test_the_page_reads_a_state_as_a_line_of_json() -> None:
    line = encode_state(AgentState(state="failed", spec="a:B", problem="a.py:1: oops", starts=2))
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "what": "agent",
        "state": "failed",
        "spec": "a:B",
        "problem": "a.py:1: oops",
        "starts": 2,
    }


def test_what_a_command_says_is_why_it_ended() -> None:
    written = ["[info] something", "mediaserver: a.py:1: NameError: x", "mediaserver: and more"]
    assert reason_of_end(written, 2) == "a.py:1: NameError: x\nand more"


def test_of_a_process_that_says_nothing_the_last_lines_and_its_status_are_shown() -> None:
    assert reason_of_end(["Traceback", "KeyError: 1"], 1) == (
        "the agent's server has ended with the status 1\nTraceback\nKeyError: 1"
    )
    assert reason_of_end([], -9) == "the agent's server has ended with the signal SIGKILL"
    assert reason_of_end([], -40) == "the agent's server has ended with the signal 40"


def test_a_handler_that_cannot_be_prepared_is_told_without_the_log_around_it() -> None:
    line = "2027-01-15T08:00:00Z [error    ] startup failed       reason='my_agent.py:4: no key'"
    assert reason_of_end(["[info     ] something", line], 2) == "my_agent.py:4: no key"
