"""Shamir's sharing over p = 2^61 - 1 (spec, section 5)."""

P = 2**61 - 1


def to_limbs(secret):
    return [int.from_bytes(secret[i : i + 7], "little") for i in range(0, len(secret), 7)]


def from_limbs(limbs, length):
    sizes = [min(7, length - i) for i in range(0, length, 7)]
    return b"".join(limb.to_bytes(size, "little") for limb, size in zip(limbs, sizes, strict=True))


def split(secret, threshold, xs, entropy):
    """Return the share of each x."""
    limbs = to_limbs(secret)
    drawn = entropy(16 * (threshold - 1) * len(limbs))
    numbers = [int.from_bytes(drawn[i : i + 16], "little") % P for i in range(0, len(drawn), 16)]
    polynomials = [[limb, *numbers[i :: len(limbs)]] for i, limb in enumerate(limbs)]
    return [b"".join(_value(polynomial, x).to_bytes(8, "little") for polynomial in polynomials) for x in xs]


def _value(polynomial, x):
    return sum(coefficient * pow(x, power, P) for power, coefficient in enumerate(polynomial)) % P


def combine(shares, length):
    """Return the secret of `length` bytes from shares by x."""
    secret = []
    for at in range(0, 8 * -(-length // 7), 8):
        total = 0
        for x, share in shares.items():
            weight = 1
            for other in shares:
                if other != x:
                    weight = weight * other * pow(other - x, -1, P) % P
            total += weight * int.from_bytes(share[at : at + 8], "little")
        secret.append(total % P)
    return from_limbs(secret, length)
