from __future__ import annotations

import json
import subprocess
from typing import Any

from interop.application import Application
from interop.plivo_sandbox import AUTH_ID, AUTH_TOKEN, PlivoSandbox
from interop.process import ROOT, Process


def run_client(script: str, sandbox_url: str, call: str, url: str) -> dict[str, Any]:
    """Run a script of `clients`, and return what came of each of its requests."""
    ran = subprocess.run(
        [
            "node",
            str(ROOT / "interop/clients" / script),
            *(sandbox_url, AUTH_ID, AUTH_TOKEN, call, url),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    # The SDK itself prints some requests.
    results: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    print(json.dumps(results, indent=2))
    return results


def test_all_other_methods_of_the_node_sdk(sandbox: PlivoSandbox, application: Application) -> None:
    application.documents["/other"] = '<Response><Wait length="60"/></Response>'
    call = sandbox.call_with('<Wait length="60"/>')
    sandbox.answered(call)

    results = run_client("calls.js", sandbox.url, call, f"{application.url}/other")

    assert {name: each for name, each in results.items() if "error" in each} == {}
    done = {name: each["ok"] for name, each in results.items()}
    assert done["getLiveCall"]["callStatus"] == "in-progress"
    assert done["get"]["hangupCauseName"] == "Normal Hangup"
    assert done["getApplication"]["appName"] == "node"
    assert done["getNumber"]["alias"] == "a"


def test_the_stream_calls_of_the_node_sdk(
    sandbox: PlivoSandbox, application: Application, sdk_websockets: Process
) -> None:
    call = sandbox.call_with('<Wait length="60"/>')
    sandbox.answered(call)

    results = run_client("streams.js", sandbox.url, call, sdk_websockets.url)
    done = {name: each["ok"] for name, each in results.items() if "ok" in each}
    errors = {name: each["error"] for name, each in results.items() if "error" in each}

    first, second = done["stream"]["streamId"], done["second"]["streamId"]
    assert done["stream"]["message"] == "audio streaming started"
    assert done["getStream"]["streamId"] == first
    assert done["getStream"]["bidirectional"] is True
    assert [each["streamId"] for each in done["getAllStream"]["objects"]] == [first]
    assert done["stopped"]["endTime"]
    assert {each["streamId"] for each in done["all"]["objects"]} == {first, second}
    assert all(each["endTime"] for each in done["all"]["objects"])
    assert errors == {
        "again": 400,
        "unknown": 404,
        "gone": 400,
        "deadCall": 404,
        "wrongUrl": 400,
        "stranger": 401,
    }
    assert all(each["text"] and each["api"] for each in results.values() if "error" in each)
    for stream in (first, second):
        application.report("start", stream=stream)
        application.report("disconnected", stream=stream)
