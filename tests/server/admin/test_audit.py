import pytest
from structlog.testing import capture_logs

from mediaserver.server.admin.audit import AuditLog
from mediaserver.server.admin.commands import CallCommand, Delivery
from tests.server.admin.live import URL


DONE = Delivery("done")


def test_a_command_is_one_line_with_who_what_and_which_call() -> None:
    with capture_logs() as logged:
        AuditLog().command("uid 1000", CallCommand("hangup", "call-1"), Delivery("unknown_call"))
        AuditLog().server("127.0.0.1", "drain", DONE, node="3f9a")
    assert logged == [
        {
            "event": "operator command",
            "log_level": "info",
            "by": "uid 1000",
            "action": "hangup",
            "outcome": "unknown_call",
            "call": "call-1",
        },
        {
            "event": "operator command",
            "log_level": "info",
            "by": "127.0.0.1",
            "action": "drain",
            "outcome": "done",
            "node": "3f9a",
        },
    ]


def test_words_are_logged_only_where_personal_data_is() -> None:
    command = CallCommand("say", "call-1", text="Your code is 1234.")
    with capture_logs() as logged:
        AuditLog().command("uid 0", command, DONE)
        AuditLog(personal_data=True).command("uid 0", command, DONE)
    assert [each.get("text") for each in logged] == [None, command.text]
    assert logged[0]["characters"] == len(command.text)


@pytest.mark.parametrize("audio", [True, False])
def test_who_looked_at_a_call_and_who_heard_it_are_told_apart(audio: bool) -> None:
    with capture_logs() as logged:
        AuditLog().command("uid 0", CallCommand("trace", "call-1", audio=audio), DONE)
    assert logged[0]["audio"] is audio


def test_who_asked_for_a_recording_is_noted() -> None:
    with capture_logs() as logged:
        AuditLog().recording("uid 0", "call-1", DONE)
    assert (logged[0]["action"], logged[0]["call"]) == ("recording", "call-1")


def test_secrets_in_urls_are_not_logged() -> None:
    command = CallCommand("transfer", "call-1", url=URL.replace("//", "//user:password@"))
    with capture_logs() as logged:
        AuditLog(personal_data=True).command("uid 0", command, DONE)
    assert logged[0]["to"] == "https://voice.example.com/agent.xml"


def test_what_is_denied_fills_no_log() -> None:
    with capture_logs() as logged:
        audit = AuditLog(clock=lambda: 0.0)
        for _ in range(100):
            audit.denied("192.0.2.7", "POST", "/reload", "the token is wrong")
    assert len(logged) == 20
    assert logged[0]["reason"] == "the token is wrong"
