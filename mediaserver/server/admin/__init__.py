"""The admin listener: what the server's operator sees of its calls, and can do to them."""
