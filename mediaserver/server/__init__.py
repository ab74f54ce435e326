"""The shell around calls: connections, HTTP, admission, drain, TLS, watchdog."""
