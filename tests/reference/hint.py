"""Masks modulo a product of primes, in plain integers: residues only where bytes are made, else a number a coefficient."""

import functools
import math
import operator

from reference.hashes import hkdf, u32
from reference.ring import pack, uniform, unpack, words

FIXED = 1200  # bits after the point
FAR = 200
FEW = 32  # coefficients that are faster by themselves


def is_prime(n):
    """Fermat's and Miller's test to the first primes, which no number below 2^64 passes by chance."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)
    if any(n % b == 0 for b in bases):
        return n in bases
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(pow(b, odd, n) == 1 or any(pow(b, odd << k, n) == n - 1 for k in range(twos)) for b in bases)


@functools.cache
def moduli(bits, count):
    candidates = (q for q in range(2**bits - 1 - (2**bits - 2) % 16384, 0, -16384) if is_prime(q))
    return [next(candidates) for _ in range(count)]


def exponential(numerator, denominator):
    """exp(-numerator / denominator) times 2^FIXED, to the last few bits: one over the series of exp."""
    term = total = 1 << FIXED
    j = 0
    while term:
        j += 1
        term = term * numerator // (denominator * j)
        total += term
    return (1 << 2 * FIXED) // total


@functools.cache
def thresholds():
    """floor(2^126 P(|x| >= k)) for k = 1, 2, ... as far as it is not 0; sigma = 6.36."""
    weights = [exponential(k * k * 10000, 2 * 636 * 636) for k in range(FAR)]
    whole = weights[0] + 2 * sum(weights[1:])
    tails = [2 * sum(weights[k:]) * 2**126 // whole for k in range(1, FAR)]
    return [t for t in tails if t]


def gaussian(key, stream, start, count):
    drawn = words(key, stream, 8, 2 * start, 2 * count)
    low = 2**63 - 1
    made = []
    for w0, w1 in zip(drawn[::2], drawn[1::2], strict=True):
        u = (w1 & low) * 2**63 + (w0 & low)
        size = sum(u < t for t in thresholds())
        made.append(-size if w1 > low else size)
    return made


@functools.cache
def root(n, q):
    """The smallest of the primitive 2n-th roots of unity."""
    generator = next(g for g in range(2, q) if pow(g, (q - 1) // 2, q) == q - 1)
    x = pow(generator, (q - 1) // (2 * n), q)
    return min(pow(x, k, q) for k in range(1, 2 * n, 2))


def interpolate(values, q):
    """The polynomial with these values at psi^(2 r(i) + 1): halves are its remainders by X^(n/2) -+ s where X^n = s^2."""
    n = len(values)
    psi = root(n, q)

    def through(part, exponent):
        if len(part) == 1:
            return part
        half = len(part) // 2
        s = pow(psi, exponent // 2, q)
        a, b = through(part[:half], exponent // 2), through(part[half:], exponent // 2 + n)
        two, two_s = pow(2, -1, q), pow(2 * s, -1, q)
        lower = [(x + y) * two % q for x, y in zip(a, b, strict=True)]
        upper = [(x - y) * two_s % q for x, y in zip(a, b, strict=True)]
        return lower + upper

    return through(values, n)


@functools.lru_cache(maxsize=256)
def public_polynomial(public, i, number, n, q):
    """The coefficients of a_j modulo prime i; the same for all clients of a round."""
    return interpolate(uniform(public, i, number, n, q), q)


@functools.lru_cache(maxsize=256)
def secret(key, n):
    return gaussian(key, 0, 0, n)


def joined(a, slot):
    """The value at 2^(8 slot) of a polynomial with signed coefficients."""
    plus, minus = (b"".join(max(x * sign, 0).to_bytes(slot, "little") for x in a) for sign in (1, -1))
    return int.from_bytes(plus, "little") - int.from_bytes(minus, "little")


def times_small(a, s, q, count):
    """The first coefficients of a product with small signed ones: few by its definition, others as `multiply` has it."""
    n = len(a)
    if count <= FEW:
        turned = [-x for x in reversed(s)]
        rows = ([*s[k::-1], *turned[: n - k - 1]] for k in range(count))
        return [sum(map(operator.mul, a, row)) % q for row in rows]
    slot = (q.bit_length() + max(map(abs, s)).bit_length() + n.bit_length() + 1) // 8 + 1
    half = 1 << 8 * slot - 1
    lift = int.from_bytes(half.to_bytes(slot, "little") * 2 * n, "little")
    raw = (joined(a, slot) * joined(s, slot) + lift).to_bytes(2 * slot * n + 1, "little")
    wide = [int.from_bytes(raw[slot * i : slot * (i + 1)], "little") - half for i in range(2 * n)]
    return [(wide[i] - wide[i + n]) % q for i in range(count)]


class Masking:
    """A masking ring."""

    def __init__(self, degree, bits, primes, width, per, spread):
        self.n, self.bits, self.width, self.per, self.spread = degree, bits, width, per, spread
        self.primes = moduli(bits, primes)
        self.q = math.prod(self.primes)
        self.t = 2 ** (width * per)
        self.fields = [u32(x) for x in (degree, bits, primes)]

    def secret(self, seed):
        return secret(hkdf(seed, "hint/s", *self.fields, length=16), self.n)

    def shapes(self, count):
        """First value, last value and number of coefficients of each polynomial."""
        for low in range(0, count, self.n * self.per):
            high = min(count, low + self.n * self.per)
            yield low, high, -(-(high - low) // self.per)

    def message(self, values, n):
        """Digit k of coefficient c is value k n + c."""
        padded = values + [0] * (n * self.per - len(values))
        return [sum(padded[k * n + c] << self.width * k for k in range(self.per)) for c in range(n)]

    def times_public(self, secret, public, number, i, count):
        q = self.primes[i]
        return times_small(public_polynomial(public, i, number, self.n, q), secret, q, count)

    def mask(self, values, seed, public, first):
        secret, error_key, out = self.secret(seed), hkdf(seed, "hint/e", *self.fields, length=16), b""
        for number, (low, high, n) in enumerate(self.shapes(len(values)), first):
            message = self.message(values[low:high], n)
            plain = [m + self.t * e for m, e in zip(message, gaussian(error_key, 0, number * self.n, n), strict=True)]
            for i, q in enumerate(self.primes):
                product = self.times_public(secret, public, number, i, n)
                out += pack([(x + p) % q for x, p in zip(plain, product, strict=True)], q)
        return out

    def total(self, payloads, count):
        """The sums of residues, polynomial by polynomial and prime by prime."""
        sums = []
        for _, _, n in self.shapes(count):
            for q in self.primes:
                size = (n * self.bits + 7) // 8
                parts = [unpack(payload[:size], n, q) for payload in payloads]
                payloads = [payload[size:] for payload in payloads]
                sums.append([sum(column) % q for column in zip(*parts, strict=True)])
        return sums

    def open(self, payloads, count, secret_sum, public, first):
        """The sums of the values, and the noise of each coefficient."""
        rows, values, noise = self.total(payloads, count), [], []
        for number, (low, high, n) in enumerate(self.shapes(count), first):
            combined = [0] * n
            for i, q in enumerate(self.primes):
                row, product = rows.pop(0), self.times_public(secret_sum, public, number, i, n)
                others = self.q // q
                unit = others * pow(others, -1, q)
                combined = [(x + unit * (c - p)) % self.q for x, c, p in zip(combined, row, product, strict=True)]
            centred = [(x + self.t * self.spread) % self.q - self.t * self.spread for x in combined]
            noise += [x // self.t for x in centred]
            digits = [x % self.t >> self.width * k & 2**self.width - 1 for k in range(self.per) for x in centred]
            values += digits[: high - low]
        return values, noise
