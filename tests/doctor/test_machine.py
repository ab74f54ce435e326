import resource
from pathlib import Path

import pytest

from mediaserver.doctor.findings import Finding
from mediaserver.doctor.machine import (
    KERNEL_SETTINGS,
    judge_files,
    judge_kernel,
    kernel_check,
    open_files,
)
from mediaserver.doctor.subject import Subject
from mediaserver.settings import Settings


SUBJECT = Subject(Settings(max_calls=200, port=8000))
SETTINGS = {each.file: each for each in KERNEL_SETTINGS}


def of_kernel(file: str, content: str | None, subject: Subject = SUBJECT) -> Finding:
    return judge_kernel(subject, SETTINGS[file], content)


@pytest.mark.parametrize("hard", [1864, 1_048_576, resource.RLIM_INFINITY])
def test_the_sockets_of_all_calls_fit(hard: int) -> None:
    assert judge_files(SUBJECT, hard).status == "ok"


def test_too_few_files_are_told_with_the_number_that_is_needed() -> None:
    finding = judge_files(SUBJECT, 1863)
    assert finding.status == "failed"
    assert "need 1864" in finding.detail
    assert "LimitNOFILE" in str(finding.remedy)


async def test_the_limit_of_this_process_is_looked_at() -> None:
    assert str(resource.getrlimit(resource.RLIMIT_NOFILE)[1]) in (await open_files(SUBJECT)).detail


@pytest.mark.parametrize(
    ("file", "enough", "too_little"),
    [
        ("net/core/somaxconn", "2048\n", "128\n"),
        ("net/ipv4/tcp_max_syn_backlog", "1024\n", "256\n"),
        ("net/ipv4/ip_local_port_range", "32768\t60999\n", "60000\t60999\n"),
        ("net/netfilter/nf_conntrack_max", "3600\n", "3599\n"),
        ("fs/file-max", "9223372036854775807\n", "1000\n"),
    ],
)
def test_what_the_kernel_allows_is_compared_with_what_is_needed(
    file: str, enough: str, too_little: str
) -> None:
    assert of_kernel(file, enough).status == "ok"
    finding = of_kernel(file, too_little)
    assert finding.status == "failed"
    key = file.replace("/", ".")
    assert f"sysctl -w {key}=" in str(finding.remedy)
    assert of_kernel(file, None) == ("skipped", f"this system has no {key}", None)


@pytest.mark.parametrize("content", ["128\n", "60000\t60999\n", "1024\t65535\n"])
def test_the_value_that_mends_is_one_that_passes(content: str) -> None:
    for setting in KERNEL_SETTINGS:
        finding = judge_kernel(SUBJECT, setting, content)
        if finding.status == "failed":
            value = str(finding.remedy).partition('"')[2].partition('"')[0]
            assert judge_kernel(SUBJECT, setting, value).status == "ok", setting.file


def test_a_port_that_connections_may_take_is_told() -> None:
    finding = of_kernel("net/ipv4/ip_local_port_range", "1024\t65535\n")
    assert "port 8000" in finding.detail


def test_the_file_of_a_setting_is_read(tmp_path: Path) -> None:
    check = kernel_check(SETTINGS["fs/file-max"], tmp_path)
    assert check(SUBJECT).status == "skipped"
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs" / "file-max").write_text("5\n")
    assert "fs.file-max is 5" in check(SUBJECT).detail
