"""What a server under load says of itself at ``/metrics``."""

import re


Metrics = dict[str, float]


def metrics_in(text: str) -> Metrics:
    """Return the server's own metrics by name, without the prefix, and labels.

    Those of several handlers are added up, and have no label ``handler``.
    """
    metrics: Metrics = {}
    found = re.findall(r"^mediaserver_(\w+)(?:\{([^}]*)\})? (\S+)$", text, re.MULTILINE)
    for name, given, value in found:
        labels = [each for each in given.split(",") if each and not each.startswith("handler=")]
        key = f"{name}{{{','.join(labels)}}}" if labels else name
        metrics[key] = metrics.get(key, 0.0) + float(value)
    return metrics
