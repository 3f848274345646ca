"""The pairwise protocol once more, from docs/spec/pairwise.md alone: slow, readable, in plain Python integers.

Nothing here imports the engine. The primitives X25519, Ed25519 and AES come from `cryptography`, TupleHash from pycryptodome; all
else is written out. It says what an honest party does and refuses nothing, so it is no implementation to use.
"""
