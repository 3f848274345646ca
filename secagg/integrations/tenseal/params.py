"""What everybody agrees on before a TenSEAL sum: how much is added, how large, how precise, and that nothing wraps."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from secagg.errors import ParameterError
from secagg.hazmat.transcript import digest, u64
from secagg.integrations.tenseal.context import PublicContext

__all__ = ["SumParams"]

MAX_CLIENTS = 1 << 20
VECTOR_VALUES = 1 << 20  # in one CKKSVector: whole ciphertexts at every degree, and far from protobuf's 2 GiB
NOISE_BOUND, NOISE_SIGMA = 21, 3.24  # of SEAL's centred binomial errors
# A slot lands on another multiple of the step when its error is half a step. Symmetric encryption: normal, 10 standard deviations
# are 2**-76. Public key: in a slot, rounding noise is multiplied by the slot of the secret key, which is the same for all
# clients; a normal times the size of a normal has Laplace's tail, exp(-sqrt(2) * x), and 38 of them are 2**-77.
NORMAL_SIGMAS, LAPLACE_SIGMAS = 10.0, 38.0
FLOAT_BITS = 48  # bits of a double that survive TenSEAL's encoding and decoding, sums included


@dataclass(frozen=True)
class SumParams:
    """The terms of sums under one TenSEAL context, the same for clients and server.

    Parameters
    ----------
    context : PublicContext
    clients : int
        How many may add up in one round, at least 2.
    min_clients : int
        How many must, or no sum is given out; at least 2.
    length : int
        Values in an update.
    bound : float
        Largest absolute value in an update; larger ones are refused where they are encrypted.
    threat : str
        ``"semi-honest"``, in writing: those who decrypt cannot see whether what the server hands them is the sum, so a server
        that lies could hand them one client's update; and one corrupt client opens everybody's.
    precision_bits : int, optional
        Updates and sums are multiples of 2**-precision_bits. Default: the finest that the context's noise allows.

    Raises
    ------
    ParameterError
        A sum could go beyond the modulus, or its noise beyond half a step; the text says what to change.
    """

    context: PublicContext
    clients: int
    min_clients: int
    length: int
    bound: float
    threat: str
    precision_bits: int | None = None

    def __post_init__(self) -> None:
        """Refuse what could wrap or would come out wrong."""
        if self.threat != "semi-honest":
            raise ParameterError(
                "with a TenSEAL context every client has the one secret key and the server is trusted to add: "
                'write threat="semi-honest", or use the pairwise protocol, which needs neither'
            )
        if not all(isinstance(count, int) for count in (self.clients, self.min_clients, self.length)):
            raise ParameterError("clients, min_clients and length are integers")
        if not isinstance(self.precision_bits, int | None) or not isinstance(self.bound, int | float):
            raise ParameterError("bound is a number and precision_bits an integer")
        if not 2 <= self.clients <= MAX_CLIENTS or not 2 <= self.min_clients <= self.clients:
            raise ParameterError(f"clients must be 2 to {MAX_CLIENTS}, and min_clients 2 to clients")
        if not 1 <= self.length < 1 << 40:
            raise ParameterError("length must be at least 1 and below 2**40")
        if not 0 < self.bound < 2.0**1000:
            raise ParameterError("bound must be a positive number")
        finest = -math.log2(self._least_step())
        if self.precision_bits is None:
            object.__setattr__(self, "precision_bits", math.floor(finest))
        elif self.precision_bits > finest:
            raise ParameterError(
                f"the noise allows at most precision_bits={math.floor(finest)}: a larger scale gives more"
            )
        if self.step > self.bound:
            raise ParameterError(
                f"the noise of {self.clients} clients drowns values of {self.bound}: use a larger scale"
            )
        self._check_range()

    def _check_range(self) -> None:
        degree, largest = self.context.degree, self.context.scale * self.largest
        # No coefficient exceeds the largest slot; then rounding, and the worst that public-key encryption can add.
        noise = NOISE_BOUND * (2 * degree + 1) + degree
        if largest == math.inf or 2 * self.clients * (math.ceil(largest) + noise) >= math.prod(self.context.moduli):
            bits = math.log2(math.prod(self.context.moduli)) - 1
            raise ParameterError(
                f"a sum of {self.clients} values of {self.bound} at this scale could go beyond the modulus of "
                f"2**{bits:.0f} to each side: lower the bound or the scale"
            )

    def _least_step(self) -> float:
        degree, primes = self.context.degree, self.context.primes
        # Variance of a coefficient. Public-key encryption adds u*e + e'*s + e'', which SEAL divides by the last prime, if there
        # are several, and rounds: rounding noise, and that times the key. Symmetric encryption adds one e.
        public = NOISE_SIGMA**2 * (4 * degree / 3 + 1)
        if len(primes) > 1:
            public = public / float(primes[-1]) ** 2 + (2 * degree / 3 + 1) / 12
        encoder = 1 / 12
        # The real part of a slot is a sum over N coefficients by cosines: N / 2 of their variance.
        slot = math.sqrt(self.clients * degree / 2) / self.context.scale
        symmetric = NORMAL_SIGMAS * math.sqrt(NOISE_SIGMA**2 + encoder)
        half = slot * max(symmetric, LAPLACE_SIGMAS * math.sqrt(public + encoder))
        return 2 * half + self.clients * self.bound * 2.0**-FLOAT_BITS

    @property
    def step(self) -> float:
        """What updates and sums are multiples of: a power of two."""
        return 2.0 ** -(self.precision_bits or 0)

    @property
    def largest(self) -> float:
        """The largest absolute value in a rounded update."""
        return self.bound + self.step / 2

    @property
    def vector_lengths(self) -> tuple[int, ...]:
        """Values in each CKKSVector of an update."""
        whole, rest = divmod(self.length, VECTOR_VALUES)
        return (VECTOR_VALUES,) * whole + ((rest,) if rest else ())

    def hash(self) -> bytes:
        """Return the 32-byte digest of all of it, the context included."""
        counts = (self.clients, self.min_clients, self.length)
        reals = struct.pack(">dd", self.bound, self.step)
        return digest("tenseal/params", self.context.hash(), *map(u64, counts), reals, self.threat.encode())
