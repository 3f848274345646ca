"""Keystreams, masks, the shuffle and the graphs (spec, sections 1, 5 and 6)."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from reference.hashes import digest, u64


def keystream(key, stream, blocks):
    """Return the first blocks of 16 bytes: AES of stream || counter."""
    aes = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    return b"".join(aes.update(u64(stream) + u64(i)) for i in range(blocks))


class Source:
    """Bytes of a keystream in order."""

    def __init__(self, key):
        self.key, self.used = key, 0

    def __call__(self, length):
        self.used += length
        return keystream(self.key, 0, -(-self.used // 16))[self.used - length : self.used]


def words(key, stream, size, count):
    """Return the first `count` little-endian words of `size` bytes."""
    data = keystream(key, stream, -(-count * size // 16))
    return [int.from_bytes(data[i * size : (i + 1) * size], "little") for i in range(count)]


def lane_bytes(w):
    return 2 if w <= 16 else 4 if w <= 32 else 8


def mask(key, stream, w, count):
    """Return the mask values of one key, below 2^w."""
    return [word % 2**w for word in words(key, stream, lane_bytes(w), count)]


def permutation(key, size):
    order = list(range(size))
    source = iter(words(key, 0, 8, 4 * size + 8))
    for i in range(size - 1, 0, -1):
        limit = 2**64 // (i + 1) * (i + 1)
        word = next(source)
        while word >= limit:
            word = next(source)
        j = word % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def graph(seed, size, degree):
    """Return the set of neighbours of each vertex."""
    if degree >= size - 1:
        return [set(range(size)) - {i} for i in range(size)]
    order = permutation(seed, size)
    place = {vertex: i for i, vertex in enumerate(order)}

    def joined(a, b):
        apart = (place[a] - place[b]) % size
        return 1 <= min(apart, size - apart) <= degree // 2

    return [{b for b in range(size) if b != a and joined(a, b)} for a in range(size)]


def share_graph(setup_hash, size, degree):
    return graph(digest("share-graph", setup_hash)[:16], size, degree)


def mask_graph(setup_hash, round_id, participants_hash, ranks, degree):
    places = graph(digest("mask-graph", setup_hash, u64(round_id), participants_hash)[:16], len(ranks), degree)
    return {rank: {ranks[j] for j in places[i]} for i, rank in enumerate(ranks)}
