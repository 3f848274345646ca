"""Rosters from NVFlare's startup kits: a site's certificate signs the key that it has in secagg.

Provisioning gives each site an RSA key under the certificate of one project root, and every site that root. A site signs its
Ed25519 key with the one, and everybody checks with the other, so that a roster needs no telephone: it rests on what provisioning
rests on, that whoever holds the root's key gives each name to the right site, and gives out no names beside.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from secagg.errors import AuthenticationError, InputError
from secagg.files import read_bounded, write_new
from secagg.hazmat.transcript import digest
from secagg.identity import PublicKey, Roster

__all__ = ["Claim", "roster_of"]

FORMAT = "secagg nvflare claim v1"
MAX_BYTES = 1 << 16
MIN_RSA_BITS = 2048
_PADDING = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.DIGEST_LENGTH)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: str
    name: str
    key: str
    certificate: str
    signature: str


def _statement(key: PublicKey) -> bytes:
    return digest("nvflare/roster-key", key.name.encode(), key.key)


@dataclass(frozen=True)
class Claim:
    """A party's key in secagg, signed with the certificate of its startup kit. No secret.

    Parameters
    ----------
    key : PublicKey
    certificate : bytes
        In PEM.
    signature : bytes
        RSA-PSS with SHA-256.
    """

    key: PublicKey
    certificate: bytes
    signature: bytes

    @classmethod
    def sign(cls, startup: str | os.PathLike[str], key: PublicKey) -> Claim:
        """Return the claim of the party whose startup kit lies in a directory.

        Parameters
        ----------
        startup : str or os.PathLike
            The directory with ``client.crt`` and ``client.key``, or ``server.crt`` and ``server.key``.
        key : PublicKey
            The party's, under the name in the certificate.

        Raises
        ------
        InputError
            No such kit, or `key` has another name than its certificate.
        """
        for role in ("client", "server"):
            paths = Path(startup) / f"{role}.crt", Path(startup) / f"{role}.key"
            if all(path.exists() for path in paths):
                certificate, private = (read_bounded(path, MAX_BYTES) for path in paths)
                break
        else:
            raise InputError(f"{os.fspath(startup)} holds no client.crt and client.key, nor a server's")
        try:
            owner = x509.load_pem_x509_certificate(certificate)
            signer = serialization.load_pem_private_key(private, None)
        except (ValueError, TypeError):
            raise InputError(f"the certificate or the key in {os.fspath(startup)} cannot be read") from None
        if not isinstance(signer, rsa.RSAPrivateKey) or _name(owner) != key.name:
            raise InputError(f"the startup kit, with RSA keys, belongs to {_name(owner)!r}, not to {key.name!r}")
        return cls(key, certificate, signer.sign(_statement(key), _PADDING, hashes.SHA256()))

    def check(self, root: bytes, *, when: dt.datetime | None = None) -> None:
        """Return if the claim holds under a project's root certificate.

        Parameters
        ----------
        root : bytes
            ``rootCA.pem`` of a startup kit that the caller trusts: its own.
        when : datetime, optional
            Time, with a zone, at which certificates must be valid. Default: now.

        Raises
        ------
        AuthenticationError
            Another root's certificate, one that is not valid at that time, a person's (which names a role), another name's, or
            the signature does not hold.
        """
        name, now = self.key.name, when or dt.datetime.now(dt.UTC)
        try:
            certificate, issuer = x509.load_pem_x509_certificate(self.certificate), x509.load_pem_x509_certificate(root)
            certificate.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise AuthenticationError("the certificate is not the project root's", peer=name) from None
        for each in (certificate, issuer):
            if not each.not_valid_before_utc <= now <= each.not_valid_after_utc:
                raise AuthenticationError("the certificate is not valid at this time", peer=name)
        if _name(certificate) != name:
            raise AuthenticationError(f"the certificate belongs to {_name(certificate)!r}", peer=name)
        if certificate.subject.get_attributes_for_oid(NameOID.UNSTRUCTURED_NAME):
            raise AuthenticationError("the certificate is a person's, not a site's", peer=name)
        public = certificate.public_key()
        if not isinstance(public, rsa.RSAPublicKey) or public.key_size < MIN_RSA_BITS:
            raise AuthenticationError("the certificate has no RSA key of 2048 bits or more", peer=name)
        try:
            public.verify(self.signature, _statement(self.key), _PADDING, hashes.SHA256())
        except InvalidSignature:
            raise AuthenticationError("signature of the roster key does not hold", peer=name) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a new JSON file; InputError if it exists, OSError if it cannot be written."""
        file = _File(FORMAT, self.key.name, self.key.key.hex(), self.certificate.decode(), self.signature.hex())
        write_new(path, msgspec.json.format(msgspec.json.encode(file), indent=1) + b"\n", mode=0o644)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Claim:
        """Return the claim in a file, which proves nothing before `check`.

        Raises
        ------
        InputError, ParameterError
            The file holds no claim, or one with a name or key that no roster takes.
        OSError
            The file cannot be read.
        """
        try:
            file = msgspec.json.decode(read_bounded(path, MAX_BYTES), type=_File)
            key, signature = bytes.fromhex(file.key), bytes.fromhex(file.signature)
        except ValueError as error:  # an InputError, of a file that is too long, is a ValueError
            if isinstance(error, InputError):
                raise
            raise InputError(f"{os.fspath(path)} holds no claim") from None
        if file.format != FORMAT:
            raise InputError(f"{os.fspath(path)} holds no claim of this version")
        return cls(PublicKey(file.name, key), file.certificate.encode(), signature)


def roster_of(
    sites: Iterable[Claim], server: Claim, root: bytes, *, holder: Claim | None = None, when: dt.datetime | None = None
) -> Roster:
    """Return the roster of sites and server whose claims hold under a project's root.

    Parameters
    ----------
    sites : iterable of Claim
    server : Claim
        The server's; everybody's ``fed_client.json`` says what it is called.
    root : bytes
        ``rootCA.pem`` of the caller's own startup kit.
    holder : Claim, optional
        That of the site that holds the key of encrypted sums; it may be one of `sites`, or of a site that trains nothing.
    when : datetime, optional
        See `Claim.check`.

    Raises
    ------
    AuthenticationError
        A claim does not hold.
    InputError
        One name twice, or the holder under a site's name with another key.
    ParameterError
        One key twice, or no sites.
    """
    keys: dict[str, bytes] = {}
    for claim in (*sites, server):
        claim.check(root, when=when)
        if claim.key.name in keys:
            raise InputError(f"{claim.key.name!r} claims twice")
        keys[claim.key.name] = claim.key.key
    if holder is not None:
        holder.check(root, when=when)
        if keys.get(holder.key.name, holder.key.key) != holder.key.key:
            raise InputError(f"{holder.key.name!r} claims twice, with two keys")
    of_server = keys.pop(server.key.name)
    return Roster(keys, of_server, None if holder is None else holder.key.key)


def _name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""
