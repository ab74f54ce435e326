from benchmarks.server_metrics import metrics_in
from tests.telemetry.exposed import full_exposition


def test_metrics_of_several_handlers_are_added_up() -> None:
    text = """# HELP mediaserver_underruns_total Times.
mediaserver_underruns_total{handler="Echo"} 2.0
mediaserver_underruns_total{handler="Menu"} 3.0
mediaserver_barge_ins_total{handler="Echo",outcome="false"} 4.0
mediaserver_calls_active 7.0
process_open_fds 8.0
"""
    assert metrics_in(text) == {
        "underruns_total": 5.0,
        'barge_ins_total{outcome="false"}': 4.0,
        "calls_active": 7.0,
    }


def test_the_metrics_that_benchmarks_read_exist() -> None:
    found = metrics_in(full_exposition().decode())
    for name in (
        "underruns_total",
        "underrun_seconds_total",
        "producer_gaps_total",
        "turns_total",
        "audio_sent_seconds_total",
        "loop_lag_max_seconds",
        'barge_ins_total{outcome="confirmed"}',
        'barge_ins_total{outcome="false"}',
    ):
        assert name in found
