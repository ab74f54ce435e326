from mediaserver.doctor.findings import failed, passed, skipped


def test_only_a_failure_has_a_remedy() -> None:
    assert failed("no", "mend it") == ("failed", "no", "mend it")
    assert passed("well") == ("ok", "well", None)
    assert skipped("not here") == ("skipped", "not here", None)
