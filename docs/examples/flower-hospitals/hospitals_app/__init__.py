"""Hospitals train one model over Flower; the server sees only sums."""
