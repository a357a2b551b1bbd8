"""The tables and figures of both papers, row by row, from one command each."""
