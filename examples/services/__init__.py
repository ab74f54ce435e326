"""Services of one's own, which no extra of this package brings."""
