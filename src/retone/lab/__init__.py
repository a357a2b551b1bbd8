"""Tables, figures and benchmarks: everything that measures retone and that no recording needs."""
