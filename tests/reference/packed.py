"""Packed sharing over p = 2^61 - 1, in plain integers and by Lagrange's formula alone."""

P = 2**61 - 1


def value_at(point, nodes, values):
    """The value at `point` of the polynomial of least degree through (nodes, values)."""
    total = 0
    for node, value in zip(nodes, values, strict=True):
        weight = value
        for other in nodes:
            if other != node:
                weight = weight * (point - other) * pow(node - other, -1, P) % P
        total += weight
    return total % P


def split(secrets, threshold, xs, entropy):
    """A row of shares for each x; the first ones are drawn."""
    count, rho = len(secrets), len(secrets[0])
    free = threshold - rho
    drawn = entropy(16 * free * count)
    numbers = [int.from_bytes(drawn[i : i + 16], "little") % P for i in range(0, len(drawn), 16)]
    nodes = [-j for j in range(1, rho + 1)] + list(xs[:free])
    rows = [numbers[i * count : (i + 1) * count] for i in range(free)]
    columns = [list(secret) + [row[i] for row in rows] for i, secret in enumerate(secrets)]
    return rows + [[value_at(x, nodes, column) for column in columns] for x in xs[free:]]


def combine(xs, shares, rho):
    return [[value_at(-j, xs, column) for j in range(1, rho + 1)] for column in zip(*shares, strict=True)]


def pack_digits(values, width):
    per = 60 // width
    return [sum(v << width * k for k, v in enumerate(values[i : i + per])) % P for i in range(0, len(values), per)]


def unpack_digits(elements, width, count):
    """The signed values that elements, or sums of them, hold; ValueError where none do."""
    per, values = 60 // width, []
    for element in elements:
        rest = element if element <= P // 2 else element - P
        for _ in range(per):
            digit = (rest + 2 ** (width - 1)) % 2**width - 2 ** (width - 1)
            values.append(digit)
            rest = (rest - digit) >> width
        if rest:
            raise ValueError("more than digits")
    if any(values[count:]):
        raise ValueError("values beyond the last")
    return values[:count]
