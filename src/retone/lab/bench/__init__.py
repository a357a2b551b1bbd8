"""Speed and distance to an exact reference, side by side with other libraries, in one run.

A fresh process with one thread builds every method, calls each twice to warm it up, then times
them in rounds: every round calls every method once, in shuffled order, so that drift
affects all methods equally. The result file is JSON with every single time; tables derive from it.
"""
