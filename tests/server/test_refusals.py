from types import SimpleNamespace

from structlog.testing import capture_logs

from mediaserver.server.refusals import LINES_EACH, PERIOD, RefusalLog


def test_a_flood_of_refusals_fills_no_log() -> None:
    now = 100.0
    refusals = RefusalLog(lambda: now)
    with capture_logs() as logged:
        for _ in range(LINES_EACH + 500):
            refusals.note("request refused", reason="no")
        assert len(logged) == LINES_EACH
        now += PERIOD
        refusals.note("request refused", reason="no")
        refusals.note("request refused", reason="no")
    assert [line.get("left_out") for line in logged[LINES_EACH:]] == [500, None]


def test_long_texts_are_cut() -> None:
    with capture_logs() as logged:
        RefusalLog(lambda: 0.0).note("request refused", status=400, path="/" * 5_000)
    assert logged[0]["status"] == 400
    assert len(logged[0]["path"]) < 250


def test_the_lines_may_go_into_another_log() -> None:
    lines = []
    log = SimpleNamespace(warning=lambda event, **details: lines.append((event, details)))
    RefusalLog(lambda: 0.0, log).note("request denied", reason="no")
    assert lines == [("request denied", {"reason": "no"})]
