"""Process a recording: excerpt, decision, rendering, level, result and settings file."""
