"""Listening tests: prepared from a folder of results, held on a page, analysed."""
