"""Print the reference of all settings."""

from mediaserver.settings.reference import reference


print(reference(), end="")
