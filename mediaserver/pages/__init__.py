"""The page that shows a call, and has a phone: static files, which need no build."""

from __future__ import annotations

from pathlib import Path
from typing import Final


PAGES: Final = Path(__file__).parent
"""The folder with ``index.html`` and what it loads. It fetches nothing from elsewhere."""
