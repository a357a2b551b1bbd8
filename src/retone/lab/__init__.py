"""Tables, figures and benchmarks that measure retone; nothing in it is needed to process audio."""
