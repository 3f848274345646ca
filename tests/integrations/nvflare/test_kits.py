"""Claims under certificates that NVFlare's own provisioning made, and everything that must not hold."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from nvflare.lighter.entity import Project
from nvflare.lighter.impl.cert import CertBuilder
from nvflare.lighter.impl.workspace import WorkspaceBuilder
from nvflare.lighter.provisioner import Provisioner

import secagg
from secagg.errors import AuthenticationError, InputError, ParameterError
from secagg.integrations.nvflare import Claim, roster_of

SITES = ("site-1", "site-2", "site-3")


def provision(home: Path, server: str = "server1") -> Path:
    project = Project("study", "three hospitals")
    project.set_server(server, "org", {"fed_learn_port": 8102, "admin_port": 8103})
    for name in SITES:
        project.add_client(name, "org", {})
    project.add_admin("admin@hospital.org", "org", {"role": "project_admin"})
    Provisioner(str(home), [WorkspaceBuilder(), CertBuilder()]).provision(project)
    return home / "study" / "prod_00"


@pytest.fixture(scope="module")
def kits(tmp_path_factory):
    return provision(tmp_path_factory.mktemp("kits"))


@pytest.fixture(scope="module")
def root(kits):
    return (kits / "site-1" / "startup" / "rootCA.pem").read_bytes()


@pytest.fixture(scope="module")
def keys():
    return {name: secagg.PublicKey(name, secagg.Identity.generate().verify_key) for name in (*SITES, "server1")}


@pytest.fixture(scope="module")
def claims(kits, keys):
    return {name: Claim.sign(kits / name / "startup", key) for name, key in keys.items()}


def test_a_roster_from_provisioned_kits(kits, claims, keys, tmp_path):
    for name, claim in claims.items():
        claim.save(tmp_path / f"{name}.claim")
    loaded = [Claim.load(tmp_path / f"{name}.claim") for name in claims]
    assert loaded == list(claims.values())
    *sites, server = loaded
    # Every party makes it from its own copy of the root, and all get the same.
    rosters = {
        roster_of(sites, server, (kits / name / "startup" / "rootCA.pem").read_bytes()).fingerprint
        for name in (*SITES, "server1")
    }
    assert len(rosters) == 1
    roster = roster_of(sites, server, (kits / "site-2" / "startup" / "rootCA.pem").read_bytes())
    assert roster.ids == SITES
    assert all(roster.key(name) == keys[name].key for name in SITES)
    assert roster.server == keys["server1"].key


def test_a_claim_shows_no_secret(claims, kits):
    private = (kits / "site-1" / "startup" / "client.key").read_text().splitlines()[1]
    assert private not in repr(claims["site-1"])


def test_another_projects_certificate(claims, tmp_path):
    other = (provision(tmp_path) / "site-1" / "startup" / "rootCA.pem").read_bytes()
    with pytest.raises(AuthenticationError, match="not the project root's"):
        claims["site-1"].check(other)


def test_another_key_under_a_good_certificate(claims, root):
    forged = dataclasses.replace(
        claims["site-1"], key=secagg.PublicKey("site-1", secagg.Identity.generate().verify_key)
    )
    with pytest.raises(AuthenticationError, match="signature of the roster key does not hold"):
        forged.check(root)


def test_another_name_under_a_good_certificate(claims, root):
    with pytest.raises(AuthenticationError, match="the certificate belongs to 'site-2'"):
        dataclasses.replace(claims["site-1"], certificate=claims["site-2"].certificate).check(root)


def test_a_persons_certificate(kits, root):
    key = secagg.PublicKey("admin@hospital.org", secagg.Identity.generate().verify_key)
    with pytest.raises(AuthenticationError, match="a person's, not a site's"):
        Claim.sign(kits / "admin@hospital.org" / "startup", key).check(root)


@pytest.mark.parametrize("days", [-10, 10_000])
def test_a_certificate_at_another_time(claims, root, days):
    claims["site-1"].check(root)
    with pytest.raises(AuthenticationError, match="not valid at this time"):
        claims["site-1"].check(root, when=dt.datetime.now(dt.UTC) + dt.timedelta(days=days))


@pytest.mark.parametrize("certificate", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_bytes_that_are_no_certificate(claims, root, certificate):
    with pytest.raises(AuthenticationError, match="not the project root's"):
        dataclasses.replace(claims["site-1"], certificate=certificate).check(root)
    with pytest.raises(AuthenticationError):
        claims["site-1"].check(certificate)


def issue(key, names, *, issuer_key):
    """Return a self-made root, and a certificate that it issued."""
    now = dt.datetime.now(dt.UTC)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name) for name in names])
    made = []
    for owner, public in ((issuer, issuer_key.public_key()), (subject, key.public_key())):
        builder = x509.CertificateBuilder().subject_name(owner).issuer_name(issuer).public_key(public)
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - dt.timedelta(days=1))
        signed = builder.not_valid_after(now + dt.timedelta(days=1)).sign(issuer_key, hashes.SHA256())
        made.append(signed.public_bytes(serialization.Encoding.PEM))
    return made


def test_certificates_of_other_kinds(keys):
    issuer = rsa.generate_private_key(65537, 2048)
    for key, names, text in (
        (ed25519.Ed25519PrivateKey.generate(), ["site-1"], "no RSA key of 2048 bits or more"),
        (rsa.generate_private_key(65537, 1024), ["site-1"], "no RSA key of 2048 bits or more"),
        (rsa.generate_private_key(65537, 2048), ["site-1", "site-1"], "the certificate belongs to ''"),
    ):
        root, certificate = issue(key, names, issuer_key=issuer)
        with pytest.raises(AuthenticationError, match=re.escape(text)):
            Claim(keys["site-1"], certificate, b"").check(root)


def test_a_roster_refuses_two_claims_of_one_name(claims, root):
    with pytest.raises(InputError, match="'site-1' claims twice"):
        roster_of([claims["site-1"], claims["site-1"]], claims["server1"], root)
    with pytest.raises(ParameterError):
        roster_of([], claims["server1"], root)


def test_a_kit_of_somebody_else(kits, keys, tmp_path):
    with pytest.raises(InputError, match="belongs to 'site-1', not to 'site-2'"):
        Claim.sign(kits / "site-1" / "startup", keys["site-2"])
    with pytest.raises(InputError, match=r"holds no client\.crt and client\.key"):
        Claim.sign(tmp_path, keys["site-1"])
    shutil.copy(kits / "site-1" / "startup" / "client.crt", tmp_path)
    (tmp_path / "client.key").write_text("nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        Claim.sign(tmp_path, keys["site-1"])


def test_files_that_hold_no_claim(claims, tmp_path):
    path = tmp_path / "claim"
    claims["site-1"].save(path)
    with pytest.raises(InputError, match="exists"):
        claims["site-1"].save(path)
    good = json.loads(path.read_text())
    for change, error in (
        ({"format": "secagg nvflare claim v9"}, InputError),
        ({"key": "zz"}, InputError),
        ({"key": "00"}, ParameterError),
        ({"name": ""}, ParameterError),
        ({"extra": 1}, InputError),
        ({"certificate": "x" * (1 << 16)}, InputError),
    ):
        path.write_text(json.dumps(good | change))
        with pytest.raises(error):
            Claim.load(path)
    path.write_text("no JSON")
    with pytest.raises(InputError, match="holds no claim"):
        Claim.load(path)
