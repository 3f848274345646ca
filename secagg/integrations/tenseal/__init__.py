"""Sums of TenSEAL's ciphertexts, added in C straight from their bytes, bit-identical to TenSEAL's own.

For federations that already encrypt with TenSEAL (NVFlare's homomorphic encryption, for one): they keep contexts and keys, and
the server's work is done here, by a strict parser and without TenSEAL, which is loaded only where something is encrypted or
decrypted. The key model is "shared": every client has the one secret key, and one corrupt client opens everybody's updates.
"""

from secagg.integrations.tenseal.ciphertexts import CiphertextSum
from secagg.integrations.tenseal.client import SumClient, SumResult
from secagg.integrations.tenseal.context import PublicContext
from secagg.integrations.tenseal.params import SumParams
from secagg.integrations.tenseal.server import SumServer
from secagg.integrations.tenseal.shared import SharedContext

__all__ = ["CiphertextSum", "PublicContext", "SharedContext", "SumClient", "SumParams", "SumResult", "SumServer"]
