"""The carrier's side of one stream's WebSocket."""
