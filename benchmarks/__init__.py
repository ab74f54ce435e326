"""Timings of codecs, transport and playback, beside other packages."""
