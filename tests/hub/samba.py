"""A real Active Directory domain (Debian's Samba) with people and groups in groups."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import ldap3
import pytest
from ldap3.utils.dn import escape_rdn

from tests.hub.slapd import write_certificate
from tests.platform_fixture import wait_until

SUFFIX = "DC=ad,DC=example,DC=org"
DOMAIN = "ad.example.org"
PEOPLE, GROUPS = f"OU=Staff,{SUFFIX}", f"OU=Groups,{SUFFIX}"
PASSWORD = "Secret-passw0rd"
SERVICE_DN = f"CN=Hub,OU=Staff,{SUFFIX}"

ENABLED, DISABLED = "512", "514"
"""`userAccountControl` of a person."""

_ADMINISTRATOR = f"CN=Administrator,CN=Users,{SUFFIX}"
_OPTIONS = """\
 interfaces = {address}/8
 bind interfaces only = yes
 server services = ldap
 pid directory = {directory}
 ncalrpc dir = {directory}/ncalrpc
 tls certfile = {directory}/server.pem
 tls keyfile = {directory}/server.key
 tls cafile = {directory}/server.pem
"""

needs_samba = pytest.mark.skipif(
    not Path("/usr/sbin/samba").exists() or os.geteuid() != 0,
    reason="needs root, and Debian's samba-ad-dc and samba-ad-provision",
)


class ActiveDirectory:
    """A domain with one controller, which answers LDAP and nothing else.

    Its ports are those of every LDAP server, so it has a loopback address of its own.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        a, b, c = (secrets.randbelow(250) + 2 for _ in range(3))
        self.address = f"127.{a}.{b}.{c}"
        self.certificate = directory / "server.pem"
        self._process: subprocess.Popen[bytes] | None = None
        write_certificate(directory, self.address)

    def provision(self) -> None:
        """Make the domain; some 7 s."""
        done = subprocess.run(
            [
                *("/usr/bin/samba-tool", "domain", "provision", "--configfile=/dev/null"),
                *(f"--targetdir={self.directory}", f"--realm={DOMAIN.upper()}"),
                *("--domain=EXAMPLE", "--server-role=dc", f"--adminpass={PASSWORD}"),
                *("--dns-backend=NONE", "--host-name=dc1", "--host-ip=127.0.0.1"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        options = _OPTIONS.format(address=self.address, directory=self.directory)
        self._settings.write_text(
            self._settings.read_text().replace("[global]", f"[global]\n{options}", 1)
        )

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("/usr/sbin/samba", f"--configfile={self._settings}", "--interactive"),
                    *("--model=single", "--debug-stdout"),
                ],
                stdin=subprocess.PIPE,  # it ends when this does, whatever becomes of the tests
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers, 60, self._log.read_text)

    def stop(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(30)
            assert self._process.stdin
            self._process.stdin.close()
            self._process = None

    @contextmanager
    def as_administrator(self) -> Iterator[ldap3.Connection]:
        server = ldap3.Server(self.address, port=636, use_ssl=True, get_info=ldap3.NONE)
        connection = ldap3.Connection(
            server, _ADMINISTRATOR, PASSWORD, raise_exceptions=True, check_names=False
        )
        try:
            connection.bind()
            yield connection
        finally:
            connection.unbind()

    def fill(self) -> None:
        with self.as_administrator() as administrator:
            for unit in (PEOPLE, GROUPS):
                administrator.add(unit, "organizationalUnit")
        assert self.add_person("hub", "Hub") == SERVICE_DN

    def add_person(self, account: str, name: str) -> str:
        """Add somebody whose DN says nothing of the account's name, as is usual there."""
        dn = f"CN={escape_rdn(name)},{PEOPLE}"
        with self.as_administrator() as administrator:
            administrator.add(
                dn,
                "user",
                {
                    "sAMAccountName": account,
                    "userPrincipalName": f"{account.lower()}@{DOMAIN}",
                    "unicodePwd": f'"{PASSWORD}"'.encode("utf-16-le"),
                    "userAccountControl": ENABLED,
                },
            )
        return dn

    def add_group(self, name: str, *members: str) -> str:
        dn = f"CN={name},{GROUPS}"
        with self.as_administrator() as administrator:
            given = {"member": list(members)} if members else {}
            administrator.add(dn, "group", {"sAMAccountName": name, **given})
        return dn

    def change(self, dn: str, attribute: str, how: str, *values: str) -> None:
        with self.as_administrator() as administrator:
            administrator.modify(dn, {attribute: [(how, list(values))]})

    def remove(self, dn: str) -> None:
        with self.as_administrator() as administrator:
            administrator.delete(dn)

    @property
    def _settings(self) -> Path:
        return self.directory / "etc" / "smb.conf"

    @property
    def _log(self) -> Path:
        return self.directory / "samba.log"

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, self._log.read_text()
        try:
            socket.create_connection((self.address, 636), timeout=5).close()
        except OSError:
            return False
        return True


@contextmanager
def running_active_directory(directory: Path) -> Iterator[ActiveDirectory]:
    """Run a domain for a while; afterwards nothing of it is left."""
    domain = ActiveDirectory(directory)
    domain.provision()
    domain.start()
    try:
        domain.fill()
        yield domain
    finally:
        domain.stop()
