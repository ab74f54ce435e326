"""The server as a process: HTTP, TLS, signals, drain and reload."""
