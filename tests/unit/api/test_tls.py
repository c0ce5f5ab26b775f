"""A site behind TLS: whoever trusts its certificate reaches it, nobody else takes it for the site."""

import datetime
import ipaddress
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from served_site import FILE, served

from fakes import FakeExecutor, batch, request, site
from hand_clock import HandClock
from renkei.errors import Unreachable

pytestmark = pytest.mark.anyio

TLS = FILE.replace("port = 0", 'port = 0\ncertificate = "site.pem"\ncertificate_key = "site.key"')


def write_certificate(folder: Path) -> None:
    """Write a certificate that vouches for itself, for 127.0.0.1."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "us-site")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "site.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "site.key").write_bytes(secret)


async def test_who_trusts_the_certificate_reaches_the_site(tmp_path: Path, clock: HandClock) -> None:
    write_certificate(tmp_path)
    trust = ssl.create_default_context(cafile=tmp_path / "site.pem")
    async with site(tmp_path, clock, FakeExecutor()).opened() as here:
        async with served(here, clock, tmp_path, TLS, verify=trust) as there:
            assert there.url.startswith("https://")
            assert len(await there.handle().submit(batch(here, request()))) == 1
        async with served(here, clock, tmp_path, TLS) as there:
            with pytest.raises(Unreachable, match="certificate"):
                await there.handle().submit(batch(here, request()))
