"""Primitives with sharp edges: the protocols use them, embedders should not need to.

Everything here takes and returns bytes or integer arrays, raises instead of returning False, and draws
randomness only from the `entropy` callable it is given (the operating system's by default).
"""
