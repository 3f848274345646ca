"""The protocols once more, from docs/spec alone: slow, readable, in plain Python integers.

Nothing here imports the engine. The primitives X25519, Ed25519 and AES come from `cryptography`, TupleHash from pycryptodome; all
else is written out. Of pairwise, `party` is a client and `server` a server; of ckks, `ckks_client`, `ckks_server` and `ckks_holder`
are the three parties, on `ckks_settings` (rings and cuts) and `ckks_cipher`. They refuse what the spec says they refuse. They forget
no secret, keep no ledger and take no care of time, so they are no implementation to use.
"""
