"""Measuring systems on pairs with a known target: the papers' tables, on anyone's recordings."""
