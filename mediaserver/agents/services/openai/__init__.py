"""Services of OpenAI, and of every server that speaks its protocols."""
