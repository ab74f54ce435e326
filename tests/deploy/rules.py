"""The rules for Prometheus, as they are delivered."""

from pathlib import Path
from typing import Any

import yaml


DEPLOY = Path(__file__).parents[2] / "deploy"
RULE_FILES = [DEPLOY / "prometheus" / name for name in ("recording.yaml", "alerts.yaml")]


def rules(kind: str) -> dict[str, dict[str, Any]]:
    """Return all rules of a kind, ``record`` or ``alert``, by name."""
    groups = [each for path in RULE_FILES for each in yaml.safe_load(path.read_text())["groups"]]
    return {rule[kind]: rule for group in groups for rule in group["rules"] if kind in rule}
