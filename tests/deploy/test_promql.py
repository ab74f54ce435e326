import pytest

from tests.deploy.promql import metric_names


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("up", {"up"}),
        ('up{job="mediaserver"} == 0', {"up"}),
        ("sum by (job, le) (rate(a_total[5m])) / on (job) group_left () b_total", {
            "a_total", "b_total",
        }),
        ("histogram_quantile(0.95, sum by(le) (rate(a_bucket{stage='x'}[$__rate_interval])))", {
            "a_bucket",
        }),
        ("min(expires) - time() < 14 * 86400", {"expires"}),
        ('job:calls:sum{cause=~"busy|full"} > 0 unless b offset 5m', {"job:calls:sum", "b", "m"}),
    ],
)  # fmt: skip
def test_metrics_are_found_in_expressions(expression: str, names: set[str]) -> None:
    assert metric_names(expression) - {"m"} == names - {"m"}
