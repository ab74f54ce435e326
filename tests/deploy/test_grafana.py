"""The dashboards: they are up to date, well formed, and show only what exists."""

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from tests.deploy.promql import metric_names
from tests.deploy.rules import DEPLOY, rules
from tests.telemetry.exposed import exposed_metrics
from tools.dashboards import DASHBOARDS, dashboard_json


FILES = sorted((DEPLOY / "grafana").glob("*.json"))
NAMES = [path.stem for path in FILES]


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)


class Source(Strict):
    type: str
    uid: str


class Target(Strict):
    refId: str = pydantic.Field(pattern="^[A-Z]$")  # noqa: N815
    datasource: Source
    expr: str = pydantic.Field(min_length=1)
    legendFormat: str  # noqa: N815


class Place(Strict):
    x: int = pydantic.Field(ge=0)
    y: int = pydantic.Field(ge=0)
    w: int = pydantic.Field(ge=1, le=24)
    h: int = pydantic.Field(ge=1)


class ShownPanel(Strict):
    """What Grafana's dashboard model needs of a panel."""

    id: int
    type: str = pydantic.Field(pattern="^(timeseries|stat)$")
    title: str = pydantic.Field(min_length=1)
    description: str
    datasource: Source
    gridPos: Place  # noqa: N815
    fieldConfig: dict[str, Any]  # noqa: N815
    targets: list[Target] = pydantic.Field(min_length=1)


class Model(Strict):
    """What Grafana's dashboard model needs of a dashboard."""

    uid: str = pydantic.Field(max_length=40)
    title: str
    description: str
    tags: list[str]
    schemaVersion: int  # noqa: N815
    editable: bool
    graphTooltip: int  # noqa: N815
    refresh: str
    time: dict[str, str]
    timezone: str
    templating: dict[str, list[dict[str, Any]]]
    panels: list[ShownPanel]


def models() -> list[Model]:
    return [Model.model_validate_json(path.read_text("utf-8")) for path in FILES]


def plain(expression: str) -> str:
    """Return an expression without Grafana's own variables."""
    expression = re.sub(r"\$__(rate_interval|range)\b", "5m", expression)
    return re.sub(r"\$\w+", ".*", expression)


def test_the_files_are_up_to_date() -> None:
    written = {path.read_text("utf-8") for path in FILES}
    assert written == {dashboard_json(each) for each in DASHBOARDS}


@pytest.mark.parametrize("model", models(), ids=NAMES)
def test_panels_do_not_overlap(model: Model) -> None:
    assert len({panel.id for panel in model.panels}) == len(model.panels)
    for one, other in itertools.combinations([panel.gridPos for panel in model.panels], 2):
        apart = (
            one.x + one.w <= other.x
            or other.x + other.w <= one.x
            or one.y + one.h <= other.y
            or other.y + other.h <= one.y
        )
        assert apart
    assert all(panel.gridPos.x + panel.gridPos.w <= 24 for panel in model.panels)


@pytest.mark.parametrize("model", models(), ids=NAMES)
def test_dashboards_show_only_what_exists(model: Model) -> None:
    known = exposed_metrics() | set(rules("record")) | {"up"}
    shown = set()
    for panel in model.panels:
        for target in panel.targets:
            names = metric_names(plain(target.expr))
            assert names
            shown |= names
    choices = [each["definition"] for each in model.templating["list"] if "definition" in each]
    shown |= {each.removeprefix("label_values(").partition(",")[0] for each in choices}
    assert shown <= known


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_variables_are_declared(path: Path) -> None:
    text = path.read_text("utf-8")
    used = set(re.findall(r"\$\{?([a-z]\w*)", text))
    assert used == {each["name"] for each in json.loads(text)["templating"]["list"]}


def test_expressions_can_be_read(promtool: str, tmp_path: Path) -> None:
    expressions = {
        plain(target.expr)
        for model in models()
        for panel in model.panels
        for target in panel.targets
    }
    recorded = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(sorted(expressions))
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}))
    checked = subprocess.run([promtool, "check", "rules", file], capture_output=True, check=False)
    assert checked.returncode == 0, (checked.stdout + checked.stderr).decode()
