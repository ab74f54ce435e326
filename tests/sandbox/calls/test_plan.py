from __future__ import annotations

from mediaserver.sandbox.calls.plan import CallPlan, Document
from mediaserver.sandbox.webhooks import Target


def test_a_plan_has_the_defaults_of_plivos_pages() -> None:
    plan = CallPlan(Target("https://h/answer"))

    assert (plan.ring_timeout, plan.time_limit) == (120, 14_400)
    assert (plan.machine_detection, plan.machine_detection_time) == (None, 5)


def test_a_document_is_requested_as_the_start_of_an_application() -> None:
    document = Document(*Target("https://h/answer"), "answer")

    assert (document.method, document.event, document.params) == ("POST", "StartApp", {})
