"""Homomorphic summation: clients encrypt to a key holder, the server adds, the holder decrypts one sum a round.

The construction, every label and every check are in docs/spec/ckks.md.
"""

from secagg.protocols.ckks.client import CkksClient, EncryptedUpload
from secagg.protocols.ckks.holder import CkksHolder
from secagg.protocols.ckks.server import CkksServer, Decryption

__all__ = ["CkksClient", "CkksHolder", "CkksServer", "Decryption", "EncryptedUpload"]
