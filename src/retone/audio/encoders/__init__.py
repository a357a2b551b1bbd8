"""Encoders: libsndfile for what it writes exactly, FFmpeg's libraries for the rest."""
