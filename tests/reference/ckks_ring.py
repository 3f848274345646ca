"""The ring of the ckks protocol: its modulus, samples, products and packed polynomials (spec of ckks, sections 2, 4 and 6)."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from reference.hashes import u64

SLOT = 17  # bytes; a coefficient of a product of two polynomials is below 8192 * 2^120
_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)  # decide every number below 2^64


def is_prime(number):
    if number < 41:
        return number in _WITNESSES
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in _WITNESSES:
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def modulus(bits):
    """Return the largest prime below 2^bits that is 1 modulo 16384."""
    q = 2**bits - 16383
    while not is_prime(q):
        q -= 16384
    return q


# -- samples: `count` coefficients from place `start` of a stream, place j N + c being coefficient c of polynomial j ----------


def _words(key, stream, size, start, count):
    """Return `count` little-endian words of `size` bytes, from word `start` of the keystream on."""
    first, last = start * size // 16, -(-(start + count) * size // 16)
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    data = aes.update(b"".join(u64(stream) + u64(block) for block in range(first, last)))
    data = data[start * size - 16 * first :]
    return [int.from_bytes(data[i * size : (i + 1) * size], "little") for i in range(count)]


def uniform(key, stream, start, count, q):
    bits = 52 if q < 2**50 else 64
    words = [word % 2**bits for word in _words(key, stream, 8, 2 * start, 2 * count)]
    return [(x1 * 2**bits + x0) * q // 2 ** (2 * bits) for x0, x1 in zip(words[::2], words[1::2], strict=True)]


def ternary(key, stream, start, count):
    return [3 * word // 2**32 - 1 for word in _words(key, stream, 4, start, count)]


def binomial(key, stream, start, count):
    words = _words(key, stream, 8, start, count)
    return [(word % 2**21).bit_count() - (word // 2**21 % 2**21).bit_count() for word in words]


# -- polynomials: lists of N coefficients, X^0 first ------------------------------------------------------------------


def product(a, b, q):
    """Return a b modulo X^N + 1 and q: both at X = 2^136 as integers, since multiplying those is what Python does fast."""
    size = len(a)
    x, y = (int.from_bytes(b"".join((c % q).to_bytes(SLOT, "little") for c in each), "little") for each in (a, b))
    whole = (x * y).to_bytes(2 * size * SLOT, "little")
    parts = [int.from_bytes(whole[i : i + SLOT], "little") for i in range(0, len(whole), SLOT)]
    return [(low - high) % q for low, high in zip(parts[:size], parts[size:], strict=True)]


def add(a, b, q, sign=1):
    """Return a + b, or a - b for a sign of -1, coefficient by coefficient as far as `a` goes."""
    return [(x + sign * y) % q for x, y in zip(a, b, strict=False)]


def pack(residues, bits):
    """Return `residues` packed, lowest bit first: as `encoding.pack` does, but through text, whose time is linear."""
    text = "".join(f"{residue:0{bits}b}" for residue in reversed(residues))
    return int(text, 2).to_bytes(-(-len(text) // 8), "little")


def unpack(data, bits, count, q):
    """Return residues; ValueError unless all are below q, and the padding is zero."""
    text = f"{int.from_bytes(data, 'little'):0{count * bits}b}"
    if len(text) > count * bits:
        raise ValueError("padding is not zero")
    residues = [int(text[i : i + bits], 2) for i in range(0, len(text), bits)][::-1]
    if max(residues) >= q:
        raise ValueError("a residue is not below q")
    return residues
