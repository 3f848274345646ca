"""Reproducible bytes for tests and vectors (spec, section 13)."""

import hashlib


class Entropy:
    """Draw number i, from 1, is SHAKE-256 of `name i`."""

    def __init__(self, name):
        self.name, self.drawn = name, 0

    def __call__(self, length):
        self.drawn += 1
        return hashlib.shake_256(f"{self.name} {self.drawn}".encode()).digest(length)
