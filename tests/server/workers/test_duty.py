import os

import pytest

from mediaserver.cli import serving
from mediaserver.server.workers.channel import channel_pair, receive_message, send_message
from mediaserver.server.workers.duty import CHANNEL_VARIABLE, duty
from mediaserver.server.workers.messages import Orders, StartFailed
from mediaserver.server.workers.table import WorkerTable


def test_a_process_that_no_supervisor_started_has_no_duty() -> None:
    assert duty({}) is None


def test_a_worker_gets_its_orders_and_says_why_it_cannot_follow_them() -> None:
    table = WorkerTable()
    row = table.take(now=1)
    ours, theirs = channel_pair()
    send_message(ours, Orders(row.index, "3f9a/1.1"), table.descriptor)
    environment = {CHANNEL_VARIABLE: str(theirs.detach()), "PATH": "/bin"}
    given = duty(environment)
    assert given is not None
    assert environment == {"PATH": "/bin"}
    assert not os.get_inheritable(given.sock.fileno())
    assert (given.name, given.row.name) == ("1.1", "1.1")
    row.active = 7
    assert given.row.active == 7
    with pytest.raises(SystemExit) as left:
        given.refuse("there is no such handler", 2)
    assert left.value.code == 2
    assert receive_message(ours) == (StartFailed("there is no such handler", 2), -1)
    table.close()
    ours.close()


def test_the_command_line_knows_where_the_duty_is() -> None:
    assert serving.CHANNEL_VARIABLE == CHANNEL_VARIABLE
