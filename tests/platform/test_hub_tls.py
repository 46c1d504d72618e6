"""The platform over TLS: one origin, secure cookies, and nothing that is not meant to be reached."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.hub.signing_in import Visitor
from tests.hub_platform import (
    OWNER,
    SERVICE,
    HubPlatform,
    hub_platform,
    needs_accounts,
    readable,
)
from tests.platform_fixture import wait_until

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(300), needs_accounts]


def make_certificate(directory: Path) -> tuple[Path, Path]:
    """Make a self-signed certificate of the loopback address, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Element")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = directory / "cert.pem", directory / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubPlatform]:
    directory = tmp_path_factory.mktemp("tls")
    cert, key = make_certificate(directory)
    with hub_platform(directory, ELEMENT_TLS_CERT=str(cert), ELEMENT_TLS_KEY=str(key)) as running:
        running.verify = ssl.create_default_context(cafile=str(cert))
        yield running


def test_people_sign_in_over_tls_with_cookies_that_never_go_another_way(hub):
    visitor = hub.sign_in()

    assert hub.url.startswith("https://")
    answer = visitor.get("/hub/home")
    assert answer.headers["strict-transport-security"].startswith("max-age=31536000")
    assert answer.headers["x-content-type-options"] == "nosniff"
    cookies = [cookie for cookie in visitor.cookies.jar if "jupyterhub" in cookie.name]
    assert cookies
    assert all(cookie.secure for cookie in cookies)
    # and what is not encrypted is not answered
    port = httpx.URL(hub.url).port
    assert httpx.get(f"http://127.0.0.1:{port}/hub/login", trust_env=False).status_code >= 400


def test_the_control_plane_is_under_the_same_origin_and_its_metrics_are_not(hub):
    visitor = hub.sign_in()

    assert visitor.get("/services/element/api/v1/health").json() == {"status": "ok"}
    assert visitor.get("/services/element/api/v1/jobs").status_code == 401  # no cookie counts
    token = {"Authorization": f"Bearer {visitor.token_of_person()}"}
    me = visitor.get("/services/element/api/v1/me", headers=token).json()
    assert me["name"] == OWNER
    assert visitor.get("/services/element/metrics", headers=token).status_code == 404


def test_an_editor_is_reached_over_tls_too(hub):
    visitor = hub.sign_in()
    hub.start_editor()

    assert visitor.get(f"/user/{OWNER}/lab").is_success
    kept = [cookie for cookie in visitor.cookies.jar if cookie.path.startswith("/user/")]
    assert "_xsrf" in {cookie.name for cookie in kept}
    assert [cookie.name for cookie in kept if not cookie.secure] == []


def test_signing_out_ends_the_editor_in_this_browser_and_for_who_kept_its_cookies(hub):
    visitor = hub.sign_in()
    hub.start_editor()
    page = f"/user/{OWNER}/api/status"
    visitor.get(f"/user/{OWNER}/lab")
    assert visitor.get(page).is_success
    with Visitor(hub.url, verify=hub.verify) as thief:
        thief.cookies.update(visitor.cookies)
        assert thief.get(page).is_success

        left = visitor.get(f"/user/{OWNER}/logout")  # what JupyterLab's File menu opens

        assert left.url.path == "/hub/login"
        assert visitor.get(page).status_code == 403
        wait_until(lambda: thief.get(page).status_code == 403, 40)


def test_the_key_is_the_proxy_s_to_read_and_no_other_service_s(hub):
    key = hub.data / "proxy" / "tls_key.pem"

    assert readable(f"{SERVICE}-proxy", [key]) == {key}
    assert readable(SERVICE, [key]) == set()
