"""Where the project is, which is where its programs are started."""

from pathlib import Path


ROOT = Path(__file__).resolve().parents[1]
