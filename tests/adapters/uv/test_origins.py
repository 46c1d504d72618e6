"""Where packages may come from, and what happens when they come from elsewhere."""

from __future__ import annotations

import pytest

from element_jupyter.adapters.uv.origins import is_below
from element_jupyter.core.environments.building import FailureCode
from element_jupyter.core.environments.definitions import Origin, OriginKind
from tests.adapters.uv.conftest import Bench


def test_an_index_that_nobody_has_allowed_is_refused_before_it_is_asked(bench: Bench, other_index):
    failure = bench.failure(f"--extra-index-url {other_index.url}\ntables\n")
    assert failure.code is FailureCode.NEEDS_TRUST
    assert [(each.kind, each.location, each.named_in) for each in failure.origins] == [
        (OriginKind.INDEX, other_index.url, "requirements.txt:1")
    ]
    assert other_index.url in failure.summary
    assert other_index.requests == bench.index.requests == []


def test_trust_of_a_person_lets_it_pass(bench: Bench, other_index):
    other_index.wheel("forks", "1.0")
    bench.allow(trusted=frozenset({Origin(kind=OriginKind.INDEX, location=other_index.origin)}))
    lock = bench.lock(f"--extra-index-url {other_index.url}\nforks\n")
    assert bench.versions(lock)["forks"] == "1.0"


def test_the_deployments_own_index_needs_no_trust(bench: Bench):
    lock = bench.lock(f"--index-url {bench.index.url}/\ntables\n")
    assert bench.versions(lock)["tables"] == "1.0"


def test_an_index_url_takes_the_place_of_the_default_index(bench: Bench, other_index):
    other_index.wheel("tables", "9.0")
    other_index.kernel()
    bench.allow(trusted=frozenset({Origin(kind=OriginKind.INDEX, location=other_index.url)}))
    lock = bench.lock(f"--index-url {other_index.url}\ntables\n")
    assert bench.versions(lock)["tables"] == "9.0"
    assert not any("tables" in each for each in bench.index.requests)


def test_a_wheel_by_its_url_needs_trust_and_is_installed_with_it(bench: Bench, other_index):
    served = other_index.wheel("forks", "2.0")
    text = f"forks @ {other_index.origin}/files/{served.filename}\n"
    failure = bench.failure(text)
    assert failure.code is FailureCode.NEEDS_TRUST
    assert [each.kind for each in failure.origins] == [OriginKind.URL]
    bench.allow(trusted=frozenset(failure.origins))
    lock = bench.lock(text)
    assert bench.versions(lock)["forks"] == "2.0"
    prefix = bench.install(lock)
    assert list(prefix.glob("lib/python*/site-packages/forks.py"))


def test_a_lock_may_not_send_for_files_elsewhere_than_its_index_has_them(bench, other_index):
    served = other_index.wheel("tables", "1.0", files={"tables.py": "evil = True"})
    bench.write(
        {
            "pyproject.toml": '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\n'
            'dependencies = ["tables"]\n',
            "uv.lock": 'version = 1\nrevision = 5\nrequires-python = ">=3.9"\n\n[[package]]\n'
            f'name = "tables"\nversion = "1.0"\nsource = {{ registry = "{bench.index.url}" }}\n'
            f'wheels = [\n    {{ url = "{other_index.origin}/files/{served.filename}",'
            f' hash = "sha256:{served.sha256}" }},\n]\n\n[[package]]\nname = "x"\nversion = "1"\n'
            'source = { virtual = "." }\ndependencies = [\n    { name = "tables" },\n]\n\n'
            '[package.metadata]\nrequires-dist = [{ name = "tables" }]\n',
        }
    )
    failure = bench.failure()
    assert failure.code is FailureCode.NEEDS_TRUST
    assert failure.origins == (
        Origin(kind=OriginKind.URL, location=f"{other_index.origin}/", named_in="uv.lock"),
    )
    assert other_index.requests == []


def test_an_index_does_not_get_the_password_of_another_by_taking_its_name(bench, other_index):
    bench.allow(
        index_urls=(f"corp-one={bench.index.url}",),
        trusted=frozenset({Origin(kind=OriginKind.INDEX, location=other_index.url)}),
    )
    bench.write(
        {
            "pyproject.toml": '[project]\nname = "x"\nversion = "1"\ndependencies = ["tables"]\n'
            f'[[tool.uv.index]]\nname = "Corp_One"\nurl = "{other_index.url}"\n'
        }
    )
    failure = bench.failure()
    assert failure.code is FailureCode.NOT_SUPPORTED
    assert "'Corp_One'" in failure.summary
    assert other_index.requests == []


@pytest.mark.parametrize(
    ("location", "trusted", "expected"),
    [
        ("https://a.example/simple", "https://a.example/simple", True),
        ("https://a.example/simple", "https://a.example/simple/", True),
        ("https://A.example:443/simple/x", "https://a.example/simple", True),
        ("https://a.example/simple-evil", "https://a.example/simple", False),
        ("https://a.example.evil/simple", "https://a.example", False),
        ("https://a.example@evil.example/simple", "https://a.example", False),
        ("http://a.example/simple", "https://a.example/simple", False),
        ("https://a.example:8443/simple", "https://a.example/simple", False),
        ("https://a.example/simple/../evil", "https://a.example/simple", False),
        ("https://a.example/simple/%2e%2e/evil", "https://a.example/simple", False),
        ("https://github.example/org/repo.git@v1", "https://github.example/org/repo", True),
        ("https://github.example/org/repo@v1", "git+https://github.example/org/repo", True),
        ("https://github.example/org/repository", "https://github.example/org/repo", False),
        ("https://github.example/org/repo.gitevil", "https://github.example/org/repo", False),
        ("https://github.example/org/repo", "https://github.example/", True),
    ],
)
def test_trust_of_a_place_is_trust_of_what_lies_under_it(location, trusted, expected):
    assert is_below(location, trusted) is expected
