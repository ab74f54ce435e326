import subprocess
import sys
import threading

import pytest

from mediaserver.captures.writing_thread import WritingThread


@pytest.fixture
def thread() -> WritingThread:
    return WritingThread("captures")


def test_work_is_done_in_order_in_a_thread_of_its_own(thread: WritingThread) -> None:
    done: list[object] = []
    for number in range(3):
        thread.submit(done.append, number)
    name = thread.submit(lambda: threading.current_thread().name).result(timeout=60)
    thread.shutdown()
    assert (done, name) == ([0, 1, 2], "captures")


def test_what_the_work_raises_is_the_result(thread: WritingThread) -> None:
    future = thread.submit(int, "one")
    with pytest.raises(ValueError, match="one"):
        future.result(timeout=60)
    assert thread.submit(int, "1").result(timeout=60) == 1
    thread.shutdown()


def test_work_that_was_cancelled_before_it_began_is_not_done(thread: WritingThread) -> None:
    begin, done = threading.Event(), list[int]()
    thread.submit(begin.wait, 60)
    future = thread.submit(done.append, 1)
    assert future.cancel()
    begin.set()
    thread.shutdown()
    assert not done


def test_a_process_ends_though_the_work_hangs() -> None:
    code = (
        "import threading\n"
        "from mediaserver.captures.writing_thread import WritingThread\n"
        "WritingThread('captures').submit(threading.Event().wait)\n"
        "print('over')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, text=True)
    assert (done.returncode, done.stdout) == (0, "over\n"), done.stderr
