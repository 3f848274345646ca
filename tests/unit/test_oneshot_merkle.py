"""The tree over sealed shares: RFC 6962's, every leaf under its root, and nothing else."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secagg.errors import AuthenticationError
from secagg.protocols.oneshot import merkle

SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33, 100]


def leaves(count: int) -> list[bytes]:
    return [b"%d of %d" % (i, count) for i in range(count)]


def rfc_root(data: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, by its recursion: the left part is the largest power of two below the whole."""
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    k = 1 << (len(data) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + rfc_root(data[:k]) + rfc_root(data[k:])).digest()


def rfc_path(place: int, data: list[bytes]) -> list[bytes]:
    """PATH of RFC 6962, section 2.1.1, from the leaf up."""
    if len(data) == 1:
        return []
    k = 1 << (len(data) - 1).bit_length() - 1
    if place < k:
        return [*rfc_path(place, data[:k]), rfc_root(data[k:])]
    return [*rfc_path(place - k, data[k:]), rfc_root(data[:k])]


@pytest.mark.parametrize("count", SIZES)
def test_roots_and_paths_are_those_of_rfc_6962(count: int) -> None:
    data = leaves(count)
    assert merkle.root(data) == rfc_root(data) == merkle.tree(data)[-1][0]
    found = merkle.paths(data)
    assert found == merkle.paths_in(merkle.tree(data))
    for place, path in enumerate(found):
        hashes = b"".join(rfc_path(place, data))
        assert path == hashes.ljust(merkle.depth(count) * 32, b"\0")


# Leaves and root of the Certificate Transparency project's reference tree (google/certificate-transparency, merkletree tests).
CT_LEAVES = [
    b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43", b"\x50\x51\x52\x53\x54\x55\x56\x57",
    bytes(range(0x60, 0x70)),
]  # fmt: skip
CT_ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    4: "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    6: "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    7: "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("count", CT_ROOTS)
def test_published_roots(count: int) -> None:
    assert merkle.root(CT_LEAVES[:count]).hex() == CT_ROOTS[count]


@pytest.mark.parametrize("count", SIZES)
def test_every_leaf_is_under_its_root_in_its_place_and_in_no_other(count: int) -> None:
    data = leaves(count)
    top, found = merkle.root(data), merkle.paths(data)
    for place, path in enumerate(found):
        merkle.check(data[place], place, count, path, top)
        for other in range(count):
            if other != place:
                with pytest.raises(AuthenticationError, match="its client signed for"):
                    merkle.check(data[place], other, count, path, top)
                with pytest.raises(AuthenticationError):
                    merkle.check(data[other], place, count, path, top)
        with pytest.raises(AuthenticationError):
            merkle.check(data[place] + b"\0", place, count, path, top)
        with pytest.raises(AuthenticationError):
            merkle.check(data[place], place, count, path, hashlib.sha256(top).digest())


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 13])
def test_every_changed_path_is_refused(count: int) -> None:
    """A bit anywhere, its filling with zeros included; a hash too many or too few; two of them in another order."""
    data = leaves(count)
    top = merkle.root(data)
    for place, path in enumerate(merkle.paths(data)):
        for at in range(len(path)):
            with pytest.raises(AuthenticationError):
                merkle.check(data[place], place, count, path[:at] + bytes([path[at] ^ 4]) + path[at + 1 :], top)
        for other in (path + bytes(32), path[:-1], path[32:], path + b"\0", b"x"):
            if other != path:
                with pytest.raises(AuthenticationError):
                    merkle.check(data[place], place, count, other, top)
        if len(path) >= 64 and path[:32] != path[32:64]:
            with pytest.raises(AuthenticationError):
                merkle.check(data[place], place, count, path[32:64] + path[:32] + path[64:], top)


def test_an_inner_node_is_no_leaf() -> None:
    """The second preimage that trees without a prefix have."""
    data = leaves(4)
    levels = merkle.tree(data)
    inside = levels[0][0] + levels[0][1]
    with pytest.raises(AuthenticationError):
        merkle.check(inside, 0, 2, levels[1][1], merkle.root(data))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=40), st.data())
def test_any_leaves_are_found_and_others_are_not(data: list[bytes], draw: st.DataObject) -> None:
    place = draw.draw(st.integers(0, len(data) - 1))
    path, top = merkle.paths(data)[place], merkle.root(data)
    merkle.check(data[place], place, len(data), path, top)
    with pytest.raises(AuthenticationError):
        merkle.check(data[place] + os.urandom(1), place, len(data), path, top)
    other = draw.draw(st.integers(1, 64))
    if other != len(data) and merkle.depth(other) != merkle.depth(len(data)):
        with pytest.raises(AuthenticationError, match="another length"):
            merkle.check(data[place], min(place, other - 1), other, path, top)
