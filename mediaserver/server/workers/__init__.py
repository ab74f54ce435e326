"""Several processes on one machine: a supervisor, and the workers that have the calls."""
