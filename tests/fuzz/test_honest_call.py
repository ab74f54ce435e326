from tools.fuzz.honest_call import HonestCall


def test_a_call_that_hears_nothing_for_long_is_harmed() -> None:
    call = HonestCall(0, longest_gap=2.0)
    for at in (10.0, 10.5, 12.0):
        call.hear(bytes(160), at)
    assert (call.harm, call.gap) == (None, 1.5)
    call.hear(bytes(160), 14.5)
    assert call.harm == "no audio came back for 2.5 s"
