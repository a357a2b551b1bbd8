"""Streaming meters: levels, spectra, envelopes and defects, block by block."""
