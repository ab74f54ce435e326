"""Figures of codecs, transport, playback and sentences, beside other packages."""
