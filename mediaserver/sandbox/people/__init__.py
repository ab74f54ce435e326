"""The people who answer the sandbox's phones."""
