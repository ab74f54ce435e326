"""Run every step of the Dockerfile without a container engine, as root, in Debian roots.

    python -m tools.dockerfile FOLDER

FOLDER/base stands for ``python:3.13-slim``: Debian trixie, which has Python 3.13, as debootstrap
makes it. Each stage is a copy of it, in which the instructions are carried out. Then the last stage
is tried: it has no compiler, lists its packages, and its command, run as its user, becomes healthy
and ends at its stop signal. Registries, layers and the limits of a container engine are not tried.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final


ROOT: Final = Path(__file__).parent.parent
SUITE: Final = "trixie"
HEALTHY_WITHIN: Final = 120.0
_COMPILERS: Final = ("gcc", "cc", "g++", "clang", "ld", "make", "rustc")

# What is bound into a root while a command runs there is gone when the command ends.
_ENTER: Final = """
mount --bind /etc/resolv.conf "$1/etc/resolv.conf"
mount --bind /etc/ssl/certs "$1/etc/ssl/certs"
mount --rbind /dev "$1/dev"
mount -t proc proc "$1/proc"
exec chroot --userspec="$2" "$1" /usr/bin/env -i --chdir="$3" "${@:4}"
"""


@dataclass
class Stage:
    """One stage of a Dockerfile, and the root in which it is carried out."""

    name: str
    root: Path
    arguments: dict[str, str]
    environment: dict[str, str] = field(
        default_factory=lambda: {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    )
    folder: str = "/"
    user: str = "root"
    said: dict[str, str] = field(default_factory=dict)
    """The last words of ENTRYPOINT, CMD, HEALTHCHECK and STOPSIGNAL."""

    def command(self, *words: str) -> list[str]:
        """Return the command that runs `words` in the root, as its user."""
        given = {**self.arguments, **self.environment}
        # How this machine reaches the package registry is not the Dockerfile's to know.
        given |= {
            name: value
            for name, value in os.environ.items()
            if re.fullmatch(r"(?i)https?_proxy|no_proxy|PIP_(CERT|INDEX_URL|DEFAULT_TIMEOUT)", name)
        }
        values = [f"{name}={value}" for name, value in given.items()]
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGTERM"]
        user = f"{self.user}:{self.user}"
        return [
            *own, "bash", "-euc", _ENTER, "_", str(self.root), user, self.folder, *values, *words
        ]  # fmt: skip

    def run(self, *words: str) -> str:
        """Run a command in the root, and return what it prints."""
        done = subprocess.run(
            self.command(*words), stdout=subprocess.PIPE, text=True, check=False, timeout=1800
        )
        if done.returncode:
            raise SystemExit(
                f"{shlex.join(words)}: status {done.returncode}\n{done.stdout[-2000:]}"
            )
        return done.stdout.strip()


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of a Dockerfile, with their lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word.upper(), rest.strip()


def base_root(folder: Path) -> Path:
    """Return the root that stands for the base image; make it if it is not there."""
    root = folder / "base"
    if not (root / "usr/local/bin/python").exists():
        packages = "--include=python3-venv,ca-certificates"
        subprocess.run(["debootstrap", "--variant=minbase", packages, SUITE, str(root)], check=True)
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    return root


def build(text: str, folder: Path) -> Stage:
    """Carry out a Dockerfile, and return its last stage."""
    base = base_root(folder)
    stages: list[Stage] = []
    global_arguments: dict[str, str] = {}
    for word, rest in instructions(text):
        print(f"{word} {rest}", flush=True)
        if word == "FROM":
            name = rest.partition(" AS ")[2] or str(len(stages))
            root = folder / f"stage-{name}"
            shutil.rmtree(root, ignore_errors=True)
            subprocess.run(["cp", "--archive", str(base), str(root)], check=True)
            stages.append(Stage(name, root, {}))
        elif not stages:
            key, _, value = rest.partition("=")
            global_arguments[key] = value
        else:
            _carry_out(word, rest, stages)
    return stages[-1]


def _carry_out(word: str, rest: str, stages: list[Stage]) -> None:
    stage = stages[-1]
    match word:
        case "RUN":
            print(stage.run("sh", "-c", rest), flush=True)
        case "COPY":
            _copy(shlex.split(rest), stages)
        case "ARG":
            key, _, value = rest.partition("=")
            stage.arguments[key] = value
        case "ENV":
            for pair in shlex.split(rest):
                key, _, value = pair.partition("=")
                stage.environment[key] = value.replace("$PATH", stage.environment["PATH"])
        case "WORKDIR":
            stage.folder = rest
            (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "USER":
            stage.user = rest
        case "ENTRYPOINT" | "CMD" | "STOPSIGNAL" | "HEALTHCHECK":
            stage.said[word] = rest
        case "LABEL" | "EXPOSE":
            pass
        case _:
            raise SystemExit(f"{word} is not known here")


def _copy(words: list[str], stages: list[Stage]) -> None:
    source, stage = ROOT, stages[-1]
    if words[0].startswith("--from="):
        name = words.pop(0).partition("=")[2]
        (source,) = [each.root for each in stages if each.name == name]
    *what, where = words
    target = stage.root / (Path(stage.folder) / where).relative_to("/")
    for each in what:
        path = source / each.lstrip("/")
        one = path.is_file() and len(what) == 1 and not where.endswith("/")
        if path.is_file() and not one:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        elif path.is_dir():
            # .dockerignore leaves them out; those of another stage belong to it.
            ignored = shutil.ignore_patterns("__pycache__") if source == ROOT else None
            shutil.copytree(path, target, symlinks=True, ignore=ignored, dirs_exist_ok=True)


def try_out(stage: Stage) -> None:
    """Try the last stage as an engine would run it."""
    found = stage.run("sh", "-c", f"command -v {' '.join(_COMPILERS)} || true")
    if found:
        raise SystemExit(f"the last stage has a compiler: {found}")
    if stage.user == "root":
        raise SystemExit("the last stage runs as root")
    count = "import importlib.metadata as m; print(len(list(m.distributions())))"
    print("packages with metadata:", stage.run("python", "-c", count))
    print("user:", stage.run("id"), "; version:", stage.run("mediaserver", "version"))
    words = [*json.loads(stage.said["ENTRYPOINT"]), *json.loads(stage.said["CMD"])]
    health = json.loads(stage.said["HEALTHCHECK"].partition("CMD ")[2])
    began = time.monotonic()
    with subprocess.Popen(stage.command(*words)) as server:
        try:
            while subprocess.run(stage.command(*health), stderr=subprocess.DEVNULL).returncode:
                if time.monotonic() - began > HEALTHY_WITHIN or server.poll() is not None:
                    raise SystemExit("the server did not become healthy")
                time.sleep(0.2)
            print(f"healthy after {time.monotonic() - began:.1f} s")
            # The server itself is the child of `unshare`.
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.Signals[stage.said["STOPSIGNAL"]])
            print("status after", stage.said["STOPSIGNAL"], "is", server.wait(60))
        finally:
            server.kill()
    if server.returncode:
        raise SystemExit(f"the server ended with status {server.returncode}")


if __name__ == "__main__":
    if len(sys.argv) != 2 or os.geteuid() != 0:
        raise SystemExit("as root: python -m tools.dockerfile FOLDER")
    try_out(build((ROOT / "Dockerfile").read_text("utf-8"), Path(sys.argv[1]).resolve()))
    print("every step of the Dockerfile was carried out")
