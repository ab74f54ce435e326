"""Sound in ticks of 20 ms: what a caller says, hears and presses."""
