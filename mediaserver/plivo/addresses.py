"""Where Plivo is."""

from __future__ import annotations

from typing import Final


API_URL: Final = "https://api.plivo.com"
"""The base of the REST API."""
