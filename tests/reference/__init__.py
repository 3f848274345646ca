"""The pairwise protocol once more, from docs/spec/pairwise.md alone: slow, readable, in plain Python integers.

Nothing here imports the engine. The primitives X25519, Ed25519 and AES come from `cryptography`, TupleHash from pycryptodome; all
else is written out. `party` is a client and `server` a server; they refuse what the spec says they refuse. They forget no
secret, keep no ledger and take no care of time, so they are no implementation to use.
"""
