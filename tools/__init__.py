"""What checks the project beyond its tests: `make` says how."""
