"""Whether a server can take calls here, and what to mend: ``mediaserver doctor``."""
