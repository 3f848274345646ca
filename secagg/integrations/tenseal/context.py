"""What a server may know of a TenSEAL context: its parameters and which key it is. Nothing here needs TenSEAL."""

from __future__ import annotations

import hashlib
import math
import struct
from dataclasses import dataclass, replace

import msgspec

from secagg.errors import DecodeError, InputError, ParameterError
from secagg.hazmat.transcript import DIGEST_BYTES, digest, u64
from secagg.integrations.tenseal.seal_format import Reader, open_object, require_zstd

__all__ = ["PublicContext", "key_id_of", "read_context", "read_parameters"]

SCHEME = 2  # CKKS
MAX_PRIMES = 64
# log2 of the largest modulus at 128 bits of classical security with a ternary secret: the table of the homomorphic
# encryption standard (Albrecht et al., 2018), which SEAL enforces as well.
CAPS = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}
MAX_CONTEXT_BYTES = 1 << 30
MAX_PUBLIC_BYTES = 4096
_TAG = b"SAHE\x01"
_HEAD = struct.Struct("<BQQ")
_MODULUS = struct.Struct("<HBBBBHQQ")


class _File(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    degree: int
    primes: list[int]
    scale: float
    key_id: bytes


@dataclass(frozen=True)
class PublicContext:
    """The parameters of a TenSEAL context and the id of its key: all that adding ciphertexts takes, and no key.

    Parameters
    ----------
    degree : int
        N, a power of two from 1024 to 32768; a ciphertext holds N / 2 values.
    primes : tuple of int
        The coefficient modulus, in SEAL's order; the last one, if there are several, is only for keys.
    scale : float
        ``global_scale``, at least 1.
    key_id : bytes
        32 bytes, see `SharedContext.key_id`.

    Raises
    ------
    ParameterError
        Anything that SEAL would not take, or that is over the cap of 128 bits of security.
    """

    degree: int
    primes: tuple[int, ...]
    scale: float
    key_id: bytes

    def __post_init__(self) -> None:
        """Refuse what is no CKKS context of 128 bits."""
        whole = isinstance(self.degree, int) and isinstance(self.primes, tuple)
        if not (whole and all(isinstance(q, int) for q in self.primes) and isinstance(self.scale, int | float)):
            raise ParameterError("a context has an integer degree, a tuple of integer primes and a number as its scale")
        if self.degree not in CAPS:
            raise ParameterError(f"the degree must be one of {', '.join(map(str, CAPS))}")
        if not 1 <= len(self.primes) <= MAX_PRIMES or len(set(self.primes)) != len(self.primes):
            raise ParameterError(f"a context has 1 to {MAX_PRIMES} different primes")
        for q in self.primes:
            if q % (2 * self.degree) != 1 or not 2 < q < 1 << 61:
                raise ParameterError("each prime must be 1 modulo 2N and have at most 61 bits")
        if math.prod(self.primes).bit_length() > CAPS[self.degree]:
            raise ParameterError(f"the modulus has more than the {CAPS[self.degree]} bits that are safe at this degree")
        if not 1 <= self.scale < 2.0**1000:
            raise ParameterError("the scale must be a number of 1 or more: set context.global_scale")
        object.__setattr__(self, "scale", float(self.scale))  # one value, one encoding
        if not isinstance(self.key_id, bytes) or len(self.key_id) != DIGEST_BYTES:
            raise ParameterError(f"a key id has {DIGEST_BYTES} bytes")

    @property
    def slots(self) -> int:
        """Values in a ciphertext."""
        return self.degree // 2

    @property
    def moduli(self) -> tuple[int, ...]:
        """The primes that fresh ciphertexts are modulo."""
        return self.primes[:-1] or self.primes

    def parms_id(self) -> bytes:
        """Return SEAL's 32-byte name of the parameters of fresh ciphertexts: BLAKE2b of scheme, degree, primes and 0."""
        words = (SCHEME, self.degree, *self.moduli, 0)
        return hashlib.blake2b(struct.pack(f"<{len(words)}Q", *words), digest_size=32).digest()

    def hash(self) -> bytes:
        """Return the 32-byte digest of parameters, scale and key id: what every upload and sum is bound to."""
        primes = b"".join(map(u64, self.primes))
        return digest("tenseal/context", u64(self.degree), primes, struct.pack(">d", self.scale), self.key_id)

    def to_bytes(self) -> bytes:
        """Return the context as bytes for `from_bytes`; public."""
        return _TAG + msgspec.msgpack.encode(_File(self.degree, list(self.primes), self.scale, self.key_id))

    @classmethod
    def from_bytes(cls, data: bytes) -> PublicContext:
        """Return the context in bytes of `to_bytes`.

        Raises
        ------
        ParameterError
            TenSEAL's own bytes: with a secret key, which must never reach a server, or without (see `from_tenseal`); or
            parameters that are not allowed.
        DecodeError
            Other bytes, or not in their one encoding.
        """
        if not isinstance(data, bytes):
            raise InputError(f"a context is bytes, not {type(data).__name__}")
        if not data.startswith(_TAG):
            read_context(data, public=True)
            raise ParameterError(
                "these are TenSEAL's bytes, which do not say which key they belong to: use from_tenseal"
            )
        if len(data) > MAX_PUBLIC_BYTES:
            raise DecodeError("a public context is too long")
        try:
            file = msgspec.msgpack.decode(data[len(_TAG) :], type=_File)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise DecodeError("malformed public context") from None
        context = cls(file.degree, tuple(file.primes), file.scale, file.key_id)
        if context.to_bytes() != data:
            raise DecodeError("the public context is not canonically encoded")
        return context

    @classmethod
    def from_tenseal(cls, data: bytes, key_id: bytes) -> PublicContext:
        """Return the parameters in ``context.serialize()``; its public keys are not needed and not read.

        Parameters
        ----------
        data : bytes
            As the server of an existing deployment has it, without the secret key.
        key_id : bytes
            `SharedContext.key_id`, as one of those who have the key says.

        Raises
        ------
        ParameterError
            The bytes hold a secret key: whoever sent them gave away every client's updates. Or parameters not allowed.
        DecodeError
            Other bytes.
        """
        parameters, scale, _ = read_context(data, public=True)
        return cls(*parameters, scale, key_id)


def read_parameters(data: memoryview) -> tuple[int, tuple[int, ...]]:
    """Return degree and primes of SEAL's serialized encryption parameters, checked for form only."""
    most = _HEAD.size + (MAX_PRIMES + 1) * _MODULUS.size
    body, minor = open_object(data, "encryption parameters", most=most)
    if len(body) < _HEAD.size:
        raise DecodeError("encryption parameters are cut short")
    scheme, degree, count = _HEAD.unpack_from(body)
    if scheme != SCHEME:
        raise DecodeError("encryption parameters are not of the CKKS scheme")
    if count > MAX_PRIMES or len(body) != _HEAD.size + (count + 1) * _MODULUS.size:
        raise DecodeError("encryption parameters have another length than their number of primes says")
    values = [_MODULUS.unpack_from(body, _HEAD.size + i * _MODULUS.size) for i in range(count + 1)]
    if any(value[:-1] != (0xA15E, 16, 4, minor, 0, 0, _MODULUS.size) for value in values):
        raise DecodeError("encryption parameters hold what is no modulus")
    *primes, plain = (value[-1] for value in values)
    if plain != 0:
        raise DecodeError("encryption parameters have a plaintext modulus, which CKKS has not")
    return degree, tuple(primes)


def read_context(data: bytes, *, public: bool) -> tuple[tuple[int, tuple[int, ...]], float, memoryview | None]:
    """Return ((degree, primes), scale, serialized secret key or None) of ``tenseal.Context.serialize()``.

    Parameters
    ----------
    data : bytes
    public : bool
        Whether a secret key in it is refused.

    Raises
    ------
    ParameterError
        There is a secret key and `public` is set.
    DecodeError
        Malformed.
    """
    if not isinstance(data, bytes):
        raise InputError(f"a context is bytes, not {type(data).__name__}")
    if len(data) > MAX_CONTEXT_BYTES:
        raise DecodeError("a TenSEAL context is too long")
    require_zstd()
    reader = Reader(memoryview(data), "TenSEAL context")
    parameters = reader.require(reader.bytes(1))
    keys = Reader(reader.require(reader.bytes(2)), "public part of a TenSEAL context")
    secret = reader.bytes(3)
    if secret is not None and public:
        raise ParameterError(
            "this TenSEAL context holds the secret key: a server must never have it. "
            "Whoever sent it gave away every update encrypted under it: make a new context"
        )
    reader.number(4)  # symmetric or public key
    reader.finish()
    keys.bytes(1)  # the public key
    keys.number(2)  # TenSEAL's switches
    scale = keys.double(3)
    keys.bytes(4)  # keys for multiplications and rotations, which sums do not need
    keys.bytes(5)
    keys.finish()
    if secret is not None:
        private = Reader(secret, "private part of a TenSEAL context")
        secret = private.require(private.bytes(1))
        private.number(2)  # whether keys for multiplications and rotations are to be made anew
        private.number(3)
        private.finish()
    return read_parameters(parameters), -1.0 if scale is None else scale, secret


def key_id_of(data: bytes) -> tuple[PublicContext, int]:
    """Return the public context of serialized bytes with the secret key, and the minor version of the SEAL that wrote them.

    Notes
    -----
    The id is a digest of the secret polynomial: every holder of the key gets the same one, whatever public keys were made
    from it, and with N ternary coefficients nobody can search for it.
    """
    (degree, primes), scale, secret = read_context(data, public=False)
    if secret is None:
        raise ParameterError("this TenSEAL context has no secret key: only those who decrypt have a SharedContext")
    public = PublicContext(degree, primes, scale, bytes(DIGEST_BYTES))  # sizes are checked before anything has them
    before = 32 + 8 + 8 + 16 + 8  # parameters' name, coefficient count, scale, header and length of the array
    size = 8 * degree * len(primes)
    body, minor = open_object(secret, "the secret key", size=before + size)
    if struct.unpack_from("<Q", body, before - 8)[0] != degree * len(primes):
        raise DecodeError("the secret key does not fit the parameters")
    words = b"".join(map(u64, (degree, *primes)))
    return replace(public, key_id=digest("tenseal/key", words, bytes(body[before:]))), minor
