"""The modulus of the ckks protocol, and packed residues (spec of ckks, section 2); samples and products are in `ring`."""

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
