import pytest

from mediaserver.cli.figures import listed, paused, print_figures


def test_each_figure_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_figures({"gaps": listed(["one", "two"]), "replies": listed([])})
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()) for line in lines] == ["gaps one, two", "replies none"]


def test_pauses_are_told_with_the_longest() -> None:
    assert paused(2, 1.234, 0.9) == "2, 1.23 s, the longest 0.90 s"
    assert paused(0, 0.0, 0.0) == "none"
