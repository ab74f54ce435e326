"""Every setting of the server, in one model.

A value comes from the first of these that has it: a command-line flag, the environment
(``MEDIASERVER_…``), a TOML file, the default. ``python -m mediaserver.settings`` prints the
reference as Markdown.
"""

from mediaserver.settings.loading import SettingsError, load_settings, unknown_variables
from mediaserver.settings.model import ENV_PREFIX, Settings, flag_of, variable_of
from mediaserver.settings.reference import default_of, group_of, reference, unit_of
from mediaserver.settings.values import Network


__all__ = [
    "ENV_PREFIX",
    "Network",
    "Settings",
    "SettingsError",
    "default_of",
    "flag_of",
    "group_of",
    "load_settings",
    "reference",
    "unit_of",
    "unknown_variables",
    "variable_of",
]
