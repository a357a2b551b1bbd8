"""Meters: they take blocks of samples and give levels, spectra, envelopes and defects."""
