"""Check the files in `deploy/` with the programs that read them: `make deploy`.

    python -m tools.deploy_check [NAME…]

The Helm chart is linted, and rendered with several values; what comes out is checked against
Kubernetes' schema. `compose.yaml` is checked against the schema of the Compose specification, which
is `compose-spec.json` beside this file (https://github.com/compose-spec/compose-spec, under the
Apache License 2.0). In both, a server must be able to write call records where it keeps them.
nginx, HAProxy, Caddy and systemd check their own files.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from unittest import mock

import trustme
import yaml

from mediaserver.settings import Settings, load_settings
from mediaserver.settings.model import ENV_PREFIX
from tools.dockerfile import instructions


ROOT: Final = Path(__file__).parent.parent
DEPLOY: Final = ROOT / "deploy"
CHART: Final = DEPLOY / "helm" / "mediaserver"

KUBERNETES: Final = ("1.25", "1.34")
"""The oldest version that the chart is for, and a recent one."""

VALUES: Final[dict[str, dict[str, Any]]] = {
    "as it is": {},
    "with an HPA": {"autoscaling": {"kind": "hpa"}},
    "with KEDA": {"autoscaling": {"kind": "keda"}},
    "with all": {
        "fleet": True,
        "ingress": {"enabled": True},
        "image": {"pullSecrets": ["registry"]},
        "streamPaths": ["/stream", "/sales"],
        "networkPolicy": {"metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "calls", "operator": "Exists"}],
    },
}

REFUSED: Final[dict[str, dict[str, Any]]] = {
    "a public URL without TLS": {"publicUrl": "http://voice.example.com"},
    "no handler": {"handlers": []},
    "a name that is no value": {"replica": 3},
}


class DeployError(Exception):
    """A file is wrong; the message says what."""


def main(arguments: list[str]) -> int:
    """Make the checks that are named, or all; return the exit status."""
    status = 0
    for name in arguments or CHECKS:
        try:
            said = CHECKS[name]()
        except DeployError as error:
            print(f"{name}: {error}", file=sys.stderr)
            status = 1
        else:
            print(f"{name}: {said}")
    return status


# Helm and Kubernetes


def check_chart() -> str:
    """Lint and render the chart, and check what it makes."""
    import helm_python
    import kubernetes_validate

    count = 0
    for case, values in VALUES.items():
        report = helm_python.lint(CHART, values, strict=True)
        bad = [each["error"] for each in report["messages"] if each["severity"] >= 2]
        if bad or report["errors"]:
            raise DeployError(f"{case}: {bad or report['errors']}")
        with helm_python.Chart.load(CHART) as chart:
            rendered = chart.render(values, name="calls", namespace="voice", is_install=True)
        documents = [
            document
            for path, text in rendered.items()
            if path.endswith(".yaml")
            for document in yaml.safe_load_all(text)
            if document
        ]
        for document in documents:
            count += 1
            if document["apiVersion"].startswith("keda.sh/"):
                continue  # Kubernetes' schema does not have it
            for version in KUBERNETES:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    raise DeployError(f"{case}: {document['kind']}: {error.message}") from None
        _judge_objects(case, documents)
    for case, values in REFUSED.items():
        with helm_python.Chart.load(CHART) as chart:
            try:
                chart.validate_schema(values)
            except helm_python.HelmError:
                continue
        raise DeployError(f"{case} is not refused")
    return f"{count} objects from {len(VALUES)} sets of values are right for {KUBERNETES}"


def _judge_objects(case: str, documents: list[dict[str, Any]]) -> None:
    by_kind = {each["kind"]: each for each in documents}
    pod = by_kind["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {each["name"]: each.get("value") for each in container["env"]}
    environment = {name: value for name, value in given.items() if name.startswith(ENV_PREFIX)}
    settings = settings_of(environment)
    if pod["terminationGracePeriodSeconds"] <= longest_stop(settings):
        raise DeployError(f"{case}: Kubernetes kills a pod before its last call has ended")
    if settings.drain_delay <= 2 * container["readinessProbe"]["periodSeconds"]:
        raise DeployError(f"{case}: a pod refuses calls before its Service notices that it stops")
    if [each["targetPort"] for each in by_kind["Service"]["spec"]["ports"]] != ["http"]:
        raise DeployError(f"{case}: the Service has more than the port of the calls")
    if isinstance(settings.admin_address, tuple):
        raise DeployError(f"{case}: the admin listener has an address")
    judge_state(case, settings, [Path(each["mountPath"]) for each in container["volumeMounts"]])


# Compose


def check_compose() -> str:
    """Check `compose.yaml` against the schema, and its settings against those of the server."""
    import jsonschema

    document = compose()
    schema = json.loads((ROOT / "tools/compose-spec.json").read_text("utf-8"))
    try:
        jsonschema.validate(document, schema)
    except jsonschema.ValidationError as error:
        raise DeployError(f"{error.json_path}: {error.message}") from None
    judge_compose(document)
    return f"{len(document['services'])} services follow the specification"


def judge_compose(document: dict[str, Any]) -> None:
    """Check that each server of a compose file keeps call records on a volume of its own.

    Raises:
        DeployError: It cannot write them, or they go with the container.

    """
    servers = {
        name: each for name, each in document["services"].items() if each["image"] == "mediaserver"
    }
    used: list[str] = []
    for name, service in servers.items():
        volumes = [each.split(":") for each in service["volumes"]]
        kept = {path: volume for volume, path, *mode in volumes if mode != ["ro"]}
        place = judge_state(name, settings_of(service["environment"]), list(map(Path, kept)))
        used.append(kept[str(place)])
    if not used or len(set(used)) < len(used) or not set(used) <= set(document["volumes"]):
        raise DeployError(f"the servers need a named volume each for call records, not {used}")


def judge_state(case: str, settings: Settings, writable: list[Path]) -> Path:
    """Return the one of these mounts in which a server in the image keeps call records.

    Raises:
        DeployError: It is in none of them.

    """
    with mock.patch.dict(os.environ, image_environment()):
        os.environ.pop("STATE_DIRECTORY", None)
        folder = settings.records_folder
    for mount in writable:
        if folder.is_relative_to(mount):
            return mount
    raise DeployError(f"{case}: no volume is mounted for the journal of call records, {folder}")


def image_environment() -> dict[str, str]:
    """Return the variables that the Dockerfile sets."""
    pairs = [
        pair.partition("=")
        for word, rest in instructions((ROOT / "Dockerfile").read_text("utf-8"))
        if word == "ENV"
        for pair in shlex.split(rest)
    ]
    return {name: value for name, _, value in pairs}


def compose() -> dict[str, Any]:
    """Return `compose.yaml`, without the parts that only others refer to."""
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    return {name: value for name, value in document.items() if not name.startswith("x-")}


def settings_of(environment: dict[str, Any]) -> Settings:
    """Return the settings of a server with these variables, but for those without a value here.

    Raises:
        DeployError: There is no such setting, or it has another form.

    """
    values = {}
    for name, value in environment.items():
        setting = name.removeprefix(ENV_PREFIX).lower()
        if setting not in Settings.model_fields:
            raise DeployError(f"{name} is not a setting")
        if value is not None and not re.search(r"\$[({]", str(value)):
            values[setting] = value
    values = {**values, "secret": "sixteen characters"}
    values.setdefault("redis", "redis://redis")
    return load_settings(values)


def longest_stop(settings: Settings) -> float:
    """Return how long a server with these settings may take to stop, in seconds."""
    return settings.drain_delay + settings.drain_timeout + settings.grace + 30


# Programs


def check_nginx() -> str:
    """Have nginx read its file."""
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    with _folder() as folder:
        text = re.sub(
            r"/etc/letsencrypt/live/[^/]+/(fullchain|privkey)\.pem", f"{folder}/both.pem", text
        )
        text = text.replace("/var/log/nginx", str(folder)).replace("443", str(_free_port()))
        path = folder / "nginx.conf"
        path.write_text(f"pid {folder}/pid;\nevents {{}}\nhttp {{\n{text}}}\n")
        return _run("nginx", "-t", "-e", str(folder / "error.log"), "-c", str(path))


def check_haproxy() -> str:
    """Have HAProxy read its file."""
    text = (DEPLOY / "haproxy.cfg").read_text("utf-8")
    with _folder() as folder:
        path = folder / "haproxy.cfg"
        path.write_text(text.replace("/etc/haproxy/voice.example.com.pem", f"{folder}/both.pem"))
        return _run("haproxy", "-c", "-f", str(path))


def check_caddy() -> str:
    """Have Caddy read its file."""
    text = (DEPLOY / "Caddyfile").read_text("utf-8")
    with _folder() as folder:
        path = folder / "Caddyfile"
        version = re.search(r"v?(\d+)\.(\d+)", _run("caddy", "version"))
        note = ""
        if version and (int(version[1]), int(version[2])) < (2, 7):
            text = re.sub(r"(?m)^\s*stream_close_delay.*\n", "", text)
            note = f", but for stream_close_delay, which Caddy {version[0]} does not know"
        path.write_text(text)
        _run("caddy", "validate", "--adapter", "caddyfile", "--config", str(path))
        return f"valid{note}"


def check_systemd() -> str:
    """Have systemd read the units."""
    with _folder() as folder:
        names = ["mediaserver.service", "mediaserver@.service", "mediaserver.socket"]
        for name in names:
            text = (DEPLOY / name).read_text("utf-8")
            # It looks whether the program is there.
            (folder / name).write_text(
                text.replace("/opt/mediaserver/venv/bin/mediaserver", "/bin/true")
            )
        said = _run("systemd-analyze", "verify", *(str(folder / name) for name in names))
        if str(folder) in said or "Unknown" in said:
            raise DeployError(said)
        return f"{len(names)} units"


def _run(program: str, *arguments: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        raise DeployError(
            f"{program} is not installed; `make deploy`, as root, gets it from Debian"
        )
    done = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=60)
    said = (done.stdout + done.stderr).strip()
    if done.returncode:
        raise DeployError(said)
    return said.splitlines()[-1] if said else "valid"


@contextmanager
def _folder() -> Iterator[Path]:
    """Give a folder with a certificate and its key in one file."""
    with tempfile.TemporaryDirectory() as name:
        certificate = trustme.CA().issue_cert("voice.example.com")
        certificate.private_key_and_cert_chain_pem.write_to_path(Path(name, "both.pem"))
        yield Path(name)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


CHECKS: Final[dict[str, Callable[[], str]]] = {
    "chart": check_chart,
    "compose": check_compose,
    "nginx": check_nginx,
    "haproxy": check_haproxy,
    "caddy": check_caddy,
    "systemd": check_systemd,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
