"""The ring Z_q[X]/(X^N + 1), its samplers and RLWE on it, in plain Python integers: from the definitions, without a transform."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from reference.hashes import hkdf, u32, u64

SLOT = 18  # bytes: 2^13 products below 2^122 add up to less than 2^144


def schoolbook(a, b, q):
    """The product by its definition, quadratic in time."""
    n = len(a)
    out = [0] * n
    for i in range(n):
        for j in range(n):
            sign = 1 if i + j < n else -1
            out[(i + j) % n] += sign * a[i] * b[j]
    return [c % q for c in out]


def multiply(a, b, q):
    """The same through one product of long integers (Kronecker's substitution): X = 2^144."""
    n = len(a)
    x, y = (int.from_bytes(b"".join(c.to_bytes(SLOT, "little") for c in p), "little") for p in (a, b))
    raw = (x * y).to_bytes(2 * SLOT * n, "little")
    wide = [int.from_bytes(raw[SLOT * i : SLOT * (i + 1)], "little") for i in range(2 * n)]
    return [(wide[i] - wide[i + n]) % q for i in range(n)]


def smallest_root(n, q):
    """The smallest x with x^n = -1."""
    return next(x for x in range(2, q) if pow(x, n, q) == q - 1)


def transform(a, psi, q):
    """Values at psi^(2 r(i) + 1), r reversing the bits of i."""
    n = len(a)
    width = n.bit_length() - 1
    points = [pow(psi, 2 * int(f"{i:0{width}b}"[::-1], 2) + 1, q) for i in range(n)]
    out = []
    for point in points:
        value = 0
        for c in reversed(a):
            value = (value * point + c) % q
        out.append(value)
    return out


def words(key, stream, size, start, count):
    """Little-endian words `start` to `start + count - 1` of `size` bytes of AES-128-CTR from counter block (stream, 0)."""
    block, skip = divmod(start * size, 16)
    counter = u64(stream) + u64(block)
    raw = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(skip + size * count))[skip:]
    return [int.from_bytes(raw[size * i : size * (i + 1)], "little") for i in range(count)]


def uniform(key, stream, index, n, q):
    width = 52 if q < 2**50 else 64
    pairs = [w % 2**width for w in words(key, stream, 8, 2 * n * index, 2 * n)]
    return [((pairs[2 * i + 1] << width) + pairs[2 * i]) * q >> 2 * width for i in range(n)]


def ternary(key, stream, index, n, q):
    return [((3 * w >> 32) - 1) % q for w in words(key, stream, 4, n * index, n)]


def binomial(key, stream, index, n, q):
    low = 2**21 - 1
    return [((w & low).bit_count() - (w >> 21 & low).bit_count()) % q for w in words(key, stream, 8, n * index, n)]


def add(a, b, q):
    return [(x + y) % q for x, y in zip(a, b, strict=True)]


def negate(a, q):
    return [-x % q for x in a]


def pack(residues, q):
    bits = q.bit_length()
    joined = sum(r << bits * i for i, r in enumerate(residues))
    return joined.to_bytes((bits * len(residues) + 7) // 8, "little")


def unpack(data, count, q):
    bits = q.bit_length()
    joined = int.from_bytes(data, "little")
    return [joined >> bits * i & (1 << bits) - 1 for i in range(count)]


class Key:
    """A secret key of degree n modulo q, from its seed."""

    def __init__(self, n, q, seed):
        self.n, self.q = n, q
        subkey = {label: hkdf(seed, f"rlwe/{label}", u32(n), u64(q), length=16) for label in "ase"}
        self.seed_a = subkey["a"]
        self.s = ternary(subkey["s"], 0, 0, n, q)
        self.a = uniform(self.seed_a, 0, 0, n, q)
        self.b = add(negate(multiply(self.a, self.s, q), q), binomial(subkey["e"], 0, 0, n, q), q)

    def public(self):
        return self.seed_a + pack(self.b, self.q)

    def encrypt(self, values, delta, key, first, pad=None):
        n, q = self.n, self.q
        out = b""
        for number, low in enumerate(range(0, len(values), n), first):
            part = values[low : low + n]
            u = ternary(key, 0, number, n, q)
            c1 = add(multiply(self.a, u, q), binomial(key, 2, number, n, q), q)
            c0 = add(multiply(self.b, u, q), binomial(key, 1, number, n, q), q)
            if pad is not None:
                c0 = add(c0, uniform(pad, 0, number, n, q), q)
            out += pack(c1, q) + pack([(c + delta * m) % q for c, m in zip(c0, part, strict=False)], q)
        return out

    def encrypt_seeded(self, values, delta, key, first, seed_a):
        n, q = self.n, self.q
        out = b""
        for number, low in enumerate(range(0, len(values), n), first):
            part = values[low : low + n]
            masked = negate(multiply(uniform(seed_a, 1, number, n, q), self.s, q), q)
            c0 = add(masked, binomial(key, 1, number, n, q), q)
            out += pack([(c + delta * m) % q for c, m in zip(c0, part, strict=False)], q)
        return out

    def decrypt(self, c1, c0, delta):
        """Of lists of polynomials c1 and of coefficients c0: the values and the largest distance from a step's middle."""
        half, values, worst = delta // 2, [], 0
        for index, polynomial in enumerate(c1):
            product = multiply(polynomial, self.s, self.q)
            for c, x in zip(c0[index * self.n :], product, strict=False):
                value, residual = divmod((c + x + half) % self.q, delta)
                values.append(value)
                worst = max(worst, abs(residual - half))
        return values, worst


def split(payload, count, n, q):
    """A payload's c1, one list a polynomial, and c0."""
    bits = q.bit_length()
    c1, c0, at = [], [], 0
    for low in range(0, count, n):
        some = min(n, count - low)
        for length, into in ((n, c1), (some, c0)):
            size = (length * bits + 7) // 8
            residues = unpack(payload[at : at + size], length, q)
            into.append(residues) if into is c1 else into.extend(residues)
            at += size
    assert at == len(payload)
    return c1, c0
