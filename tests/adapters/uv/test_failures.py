"""What people are told when the real uv fails, against a real index that misbehaves."""

from __future__ import annotations

import os
import subprocess

import pytest

from element_jupyter.adapters.uv import explain
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from tests.adapters.uv.conftest import Bench

PROJECT = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\n'


def failed_install(bench: Bench, lock) -> Failure:
    with pytest.raises(EnvironmentFailed) as caught:
        bench.install(lock)
    return caught.value.failure


def places(failure: Failure) -> list[tuple[str, str, int | None]]:
    return [(each.spec, each.file, each.line) for each in failure.culprits]


class TestContradictions:
    def test_in_requirements(self, bench: Bench):
        failure = bench.failure("# our furniture\ntables\nplates\nchairs<2\n")
        assert failure.code is FailureCode.NO_SOLUTION
        assert failure.title == "Requirements contradict each other"
        assert failure.summary == (
            "All versions of tables need chairs>=2; and the definition asks for tables"
            " (requirements.txt, line 2) and chairs<2 (requirements.txt, line 4)."
        )
        assert failure.hints == (
            (
                "Change 'chairs<2' in requirements.txt, line 4 so that it allows chairs>=2, which"
                " tables needs."
            ),
            "Or ask for another version of tables.",
        )
        assert places(failure) == [
            ("tables", "requirements.txt", 2),
            ("chairs<2", "requirements.txt", 4),
        ]
        assert "we can conclude that your requirements are unsatisfiable" in failure.tool_output
        assert not failure.retryable

    def test_in_a_project(self, bench: Bench):
        bench.write(
            {"pyproject.toml": PROJECT + 'dependencies = [\n  "tables",\n  "chairs<2",\n]\n'}
        )
        failure = bench.failure()
        assert failure.code is FailureCode.NO_SOLUTION
        assert places(failure) == [
            ("tables", "pyproject.toml", 6),
            ("chairs<2", "pyproject.toml", 7),
        ]
        assert failure.hints[0] == (
            "Change 'chairs<2' in pyproject.toml, line 7 so that it allows chairs>=2, which tables"
            " needs."
        )

    def test_between_two_packages(self, bench: Bench):
        bench.index.wheel("stools", "1.0", requires=["chairs<2"])
        failure = bench.failure("tables\nstools\n")
        assert failure.code is FailureCode.NO_SOLUTION
        assert "chairs>=2" in failure.summary
        assert "chairs<2" in failure.summary
        assert {each.name for each in failure.culprits} == {"tables", "stools"}
        assert failure.hints

    def test_conditions_inside_of_versions_are_read_over(self, bench: Bench):
        marked = [
            "chairs>=1.5,<2 ; python_version < '3.99'",
            "chairs>=2 ; python_version >= '3.99'",
        ]
        bench.index.wheel("sofas", "2.2", requires=marked)
        failure = bench.failure("sofas\nchairs>=2\n")
        assert failure.summary.startswith("All versions of sofas need chairs>=1.5,<2; and the")
        assert failure.hints[0].startswith(
            "Change 'chairs>=2' in requirements.txt, line 2 so that it allows chairs>=1.5,<2, which"
        )

    def test_a_version_that_does_not_exist(self, bench: Bench):
        failure = bench.failure("tables>=9\n")
        assert failure.code is FailureCode.NO_SOLUTION
        assert failure.title == "A version does not exist"
        assert "tables==1.0" in failure.summary
        assert failure.hints == ("Ask for tables==1.0, which exists.",)
        assert places(failure) == [("tables>=9", "requirements.txt", 1)]


class TestUnknownPackages:
    def test_it_is_named_with_its_line(self, bench: Bench):
        failure = bench.failure("plates\nno-such-thing\n")
        assert failure.code is FailureCode.UNKNOWN_PACKAGE
        assert failure.summary == (
            "No index that is asked has a package no-such-thing (requirements.txt, line 2)."
        )
        assert places(failure) == [("no-such-thing", "requirements.txt", 2)]

    @pytest.mark.parametrize(
        ("written", "meant"), [("sklearn", "scikit-learn"), ("pandsa", "pandas"), ("cv2", "opencv")]
    )
    def test_what_was_probably_meant_is_said(self, bench: Bench, written, meant):
        failure = bench.failure(f"{written}\n")
        assert failure.code is FailureCode.UNKNOWN_PACKAGE
        assert failure.hints[0].startswith(f"Write {meant}")

    def test_one_that_a_package_needs(self, bench: Bench):
        bench.index.wheel("shelves", requires=["brackets"])
        failure = bench.failure("shelves\n")
        assert failure.code is FailureCode.UNKNOWN_PACKAGE
        assert "brackets" in failure.summary


class TestPython:
    def test_a_package_that_needs_another(self, bench: Bench):
        bench.index.wheel("future-thing", "1.0", requires_python=">=3.99")
        failure = bench.failure("future-thing\n")
        assert failure.code is FailureCode.PYTHON_MISMATCH
        assert failure.summary == (
            "future-thing (requirements.txt, line 1) needs Python >=3.99, and this environment has"
            f" {bench.interpreter.version}."
        )

    def test_a_project_that_needs_another(self, bench: Bench):
        bench.write({"pyproject.toml": PROJECT.replace(">=3.9", ">=3.99") + "dependencies = []\n"})
        failure = bench.failure()
        assert failure.code is FailureCode.PYTHON_MISMATCH
        assert ">=3.99" in failure.summary


class TestWheels:
    def test_source_only(self, bench: Bench):
        bench.index.sdist("oldie", "1.0", setup="raise SystemExit('was run')")
        failure = bench.failure("oldie\n")
        assert failure.code is FailureCode.NO_WHEEL
        assert failure.summary.startswith("oldie (requirements.txt, line 1) exists as source only")
        assert "was run" not in failure.tool_output
        assert [(each.kind, each.location) for each in failure.origins] == [("sdist", "oldie")]

    def test_source_only_in_a_project(self, bench: Bench):
        bench.index.sdist("oldie", "1.0")
        bench.write({"pyproject.toml": PROJECT + 'dependencies = ["oldie"]\n'})
        failure = bench.failure()
        assert failure.code is FailureCode.NO_WHEEL
        assert "oldie" in failure.summary

    @pytest.mark.parametrize("tag", ["cp311-cp311-win_amd64", "cp27-cp27m-manylinux2014_x86_64"])
    def test_wheels_for_other_machines_only(self, bench: Bench, tag):
        bench.index.wheel("native", "1.0", tag=tag)
        failure = bench.failure("native\n")
        assert failure.code is FailureCode.NO_WHEEL
        assert failure.summary.startswith(
            "native (requirements.txt, line 1) has no wheel for this machine: "
        )
        assert failure.origins == ()

    def test_wheels_for_other_pythons_only(self, bench: Bench):
        for minor in (7, 8):
            bench.index.wheel("native", "1.0", tag=f"cp3{minor}-cp3{minor}-manylinux2014_x86_64")
        failure = bench.failure("native\n")
        assert failure.code is FailureCode.NO_WHEEL
        assert failure.summary.endswith("there are wheels for Python 3.7, 3.8 only.")
        assert failure.hints[1] == "Or ask for Python 3.8 in the definition."


class TestTheIndex:
    def test_answers_500(self, bench: Bench):
        bench.index.status = 500
        failure = bench.failure("tables\n")
        assert failure.code is FailureCode.OFFLINE
        assert failure.summary.endswith("answers 500 Internal Server Error.")
        assert failure.retryable

    def test_is_slow(self, bench: Bench):
        bench.index.delay_seconds = 30
        bench.set(UV_HTTP_TIMEOUT="1")
        failure = bench.failure("tables\n")
        assert failure.code is FailureCode.OFFLINE
        assert failure.summary.endswith("is too slow to answer.")

    def test_is_not_there(self, bench: Bench):
        bench.allow(index_urls=("http://127.0.0.1:9/simple",))
        failure = bench.failure("tables\n")
        assert failure.code is FailureCode.OFFLINE
        assert failure.summary == "127.0.0.1:9 refuses connections."

    def test_has_a_name_that_nobody_knows(self, bench: Bench):
        bench.allow(index_urls=("http://no-such-host.invalid/simple",))
        bench.set(HTTP_PROXY="", HTTPS_PROXY="")
        failure = bench.failure("tables\n")
        assert failure.code is FailureCode.OFFLINE
        assert failure.summary.startswith("no-such-host.invalid is not known")

    def test_wants_a_sign_in(self, bench: Bench):
        bench.index.credentials = ("user", "password")
        failure = bench.failure("tables\n")
        assert failure.code is FailureCode.AUTH_REQUIRED
        assert failure.summary.startswith(f"The index {bench.index.url} asks for a sign-in")
        assert "machine 127.0.0.1" in failure.hints[0]

    def test_wants_a_sign_in_for_files(self, bench: Bench):
        lock = bench.lock("tables\n")
        bench.index.credentials = ("user", "password")
        failure = failed_install(bench, lock)
        assert failure.code is FailureCode.AUTH_REQUIRED
        assert failure.summary.startswith(f"The index {bench.index.url} asks for a sign-in")

    def test_is_not_asked_when_offline(self, bench: Bench):
        bench.allow(offline=True)
        failure = bench.failure("tables\n")
        assert failure.code is FailureCode.OFFLINE
        assert "Element.offline" in failure.summary
        assert places(failure) == [("tables", "requirements.txt", 1)]
        assert bench.index.requests == []


class TestFiles:
    @pytest.mark.parametrize(
        ("fault", "code"),
        [
            ("corrupt", FailureCode.HASH_MISMATCH),
            ("truncate", FailureCode.HASH_MISMATCH),
            ("missing", FailureCode.OFFLINE),
            ("dropping", FailureCode.OFFLINE),
        ],
    )
    def test_that_are_not_as_they_should_be(self, bench: Bench, fault, code):
        lock = bench.lock("tables\n")
        getattr(bench.index, fault)("tables")
        failure = failed_install(bench, lock)
        assert failure.code is code
        assert failure.retryable
        bench.index.healthy()
        assert list(bench.install(lock).glob("lib/python*/site-packages/tables.py"))


def test_a_build_that_takes_too_long_is_ended(bench: Bench):
    bench.index.delay_seconds = 30
    bench.allow(timeout_seconds=0.5)
    failure = bench.failure("tables\n")
    assert failure.code is FailureCode.TIMEOUT
    assert failure.retryable
    assert "0.5 seconds" in failure.summary


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk")
def test_a_full_disk_is_told(bench: Bench):
    bench.index.wheel("heavy", files={"heavy.bin": os.urandom(3_000_000)})
    lock = bench.lock("heavy\n")
    small = bench.directory / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small])
    if mounted.returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with pytest.raises(EnvironmentFailed) as caught:
            bench.uv.install(
                lock.content, bench.interpreter, bench.rules, bench.told,
                prefix=small / "prefix", final=small / "final", cache=small / "cache",
            )  # fmt: skip
    finally:
        subprocess.run(["umount", small], check=True)
    assert caught.value.failure.code is FailureCode.DISK_FULL
    assert caught.value.failure.retryable


def test_what_is_not_known_is_shown_as_it_is():
    failure = explain("error: The moon is in the wrong phase\n  cause: tides")
    assert failure.code is FailureCode.INTERNAL
    assert failure.summary.endswith("The moon is in the wrong phase.")
    assert "tides" in failure.tool_output


def test_credentials_in_what_uv_says_are_taken_out():
    failure = explain("error: Failed to fetch: https://bob:hunter2@a.example/simple/x/")
    assert "hunter2" not in failure.model_dump_json()
    assert "bob" not in failure.model_dump_json()
