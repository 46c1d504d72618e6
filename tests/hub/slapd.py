"""A real OpenLDAP server with people and groups in groups, on a port of its own."""

from __future__ import annotations

import datetime as dt
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path

import ldap3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from element_jupyter.platform.ports import free_port
from tests.platform_fixture import wait_until

SUFFIX = "dc=example,dc=org"
ROOT_DN, ROOT_PASSWORD = f"cn=root,{SUFFIX}", "root-password"
SERVICE_DN, SERVICE_PASSWORD = f"cn=hub,{SUFFIX}", "service-password"

_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
pidfile {directory}/slapd.pid
TLSCertificateFile {directory}/server.pem
TLSCertificateKeyFile {directory}/server.key
TLSCACertificateFile {directory}/server.pem
database mdb
suffix "{suffix}"
rootdn "{root}"
rootpw {root_password}
directory {directory}/data
overlay ppolicy
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service}" read by self read by * none
"""


class Slapd:
    """A directory; what is changed in it is in force at once."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.certificate = directory / "server.pem"
        self._process: subprocess.Popen[bytes] | None = None
        (directory / "data").mkdir(parents=True)
        write_certificate(directory, "127.0.0.1")
        (directory / "slapd.conf").write_text(
            _CONFIG.format(
                directory=directory,
                suffix=SUFFIX,
                root=ROOT_DN,
                root_password=ROOT_PASSWORD,
                service=SERVICE_DN,
            )
        )

    def start(self) -> None:
        with (self.directory / "slapd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("/usr/sbin/slapd", "-d", "0", "-f", str(self.directory / "slapd.conf")),
                    *("-h", f"ldap://127.0.0.1:{self.port}"),
                ],
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, 30, (self.directory / "slapd.log").read_text)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(30)
            self._process = None

    @contextmanager
    def as_root(self) -> Iterator[ldap3.Connection]:
        server = ldap3.Server("127.0.0.1", port=self.port, get_info=ldap3.NONE)
        connection = ldap3.Connection(server, ROOT_DN, ROOT_PASSWORD, raise_exceptions=True)
        try:
            connection.bind()
            yield connection
        finally:
            connection.unbind()

    def fill(self) -> None:
        with self.as_root() as root:
            root.add(SUFFIX, ["dcObject", "organization"], {"o": "Example", "dc": "example"})
            root.add(
                SERVICE_DN,
                ["organizationalRole", "simpleSecurityObject"],
                {"userPassword": SERVICE_PASSWORD},
            )
            for unit in ("people", "groups"):
                root.add(f"ou={unit},{SUFFIX}", "organizationalUnit")

    def add_person(self, uid: str, password: str = "secret password") -> str:
        dn = f"uid={ldap3.utils.dn.escape_rdn(uid)},ou=people,{SUFFIX}"
        with self.as_root() as root:
            root.add(
                dn, "inetOrgPerson", {"uid": uid, "cn": uid, "sn": uid, "userPassword": password}
            )
        return dn

    def add_group(self, name: str, *members: str, kind: str = "groupOfNames") -> str:
        dn = f"cn={name},ou=groups,{SUFFIX}"
        attribute = {"groupOfNames": "member", "groupOfUniqueNames": "uniqueMember"}.get(kind)
        values = (
            {attribute: [SERVICE_DN, *members]}
            if attribute
            else {"memberUid": list(members), "gidNumber": "5000"}
        )
        with self.as_root() as root:
            root.add(dn, kind, values)
        return dn

    def change(self, dn: str, attribute: str, how: str, *values: str) -> None:
        with self.as_root() as root:
            root.modify(dn, {attribute: [(how, list(values))]})

    def remove(self, dn: str) -> None:
        with self.as_root() as root:
            root.delete(dn)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True


@contextmanager
def running_slapd(directory: Path) -> Iterator[Slapd]:
    """Run a directory for a while; afterwards nothing of it is left."""
    slapd = Slapd(directory)
    slapd.start()
    try:
        slapd.fill()
        yield slapd
    finally:
        slapd.stop()


def write_certificate(directory: Path, address: str) -> None:
    """Write `server.pem` and `server.key`, which vouch for themselves, of a server at `address`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (directory / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / "server.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (directory / "server.key").chmod(0o600)
