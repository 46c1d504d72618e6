"""What cannot be had, in words, and what must not be had at all."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from element_jupyter.core.environments.building import EnvironmentFailed, FailureCode
from tests import conda_channel
from tests.adapters.rattler.conftest import trusted

CONFLICT = "channels: [CHANNEL]\ndependencies:\n  - widget\n  - gadget\n"


def failure(conda, text, **more):
    with pytest.raises(EnvironmentFailed) as caught:
        conda.lock(text, **more)
    return caught.value.failure


def test_a_contradiction_is_told_by_who_wants_what(conda):
    told = failure(conda, CONFLICT)
    assert told.code is FailureCode.NO_SOLUTION
    assert told.summary == (
        "gadget and widget cannot be installed together: gadget 1.0 needs toolbox 2.*;"
        " widget 1.0 needs toolbox 1.*."
    )
    assert [(each.spec, each.line) for each in told.culprits] == [("widget", 3), ("gadget", 4)]
    assert "which conflicts with the versions reported above" in told.tool_output


@pytest.mark.parametrize(
    ("dependency", "code", "words"),
    [
        ("sofa", FailureCode.UNKNOWN_PACKAGE, "no package sofa"),
        ("greeter >=3", FailureCode.NO_SOLUTION, "no greeter that is >=3"),
        ("python 3.99.*", FailureCode.PYTHON_MISMATCH, "no Python 3.99.*"),
        ("antique", FailureCode.PYTHON_MISMATCH, "python <3.0"),
        ("accelerated", FailureCode.NOT_SUPPORTED, "an NVIDIA driver"),
        ("greeter ===1", FailureCode.PARSE_ERROR, "cannot read one of the dependencies"),
    ],
)
def test_what_no_channel_has_is_told_by_name(conda, dependency, code, words):
    told = failure(conda, f"channels: [CHANNEL]\ndependencies:\n  - {dependency}\n")
    assert (told.code, words in told.summary) == (code, True), told
    assert told.code is FailureCode.PARSE_ERROR or dependency in {
        each.spec for each in told.culprits
    }


def test_what_the_definition_itself_forbids_is_told(conda):
    told = failure(conda, "channels: [CHANNEL]\ndependencies:\n  - widget\n  - toolbox 2.*\n")
    assert told.code is FailureCode.NO_SOLUTION
    assert told.summary == (
        "widget cannot be installed: widget 1.0 needs toolbox 1.*;"
        " environment.yml asks for toolbox 2.*."
    )
    assert [each.line for each in told.culprits] == [3, 4]


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        ("file:///opt/channel", FailureCode.NOT_SUPPORTED),
        ("/opt/channel", FailureCode.NOT_SUPPORTED),
        ("./channel", FailureCode.NOT_SUPPORTED),
        ("s3://bucket/channel", FailureCode.NOT_SUPPORTED),
        ("https://me:secret@conda.example/c", FailureCode.AUTH_REQUIRED),
        ("https://conda.example/t/secret/c", FailureCode.AUTH_REQUIRED),
        ("https://conda.example/c", FailureCode.NEEDS_TRUST),
        ("conda-forge", FailureCode.NEEDS_TRUST),
        ("defaults", FailureCode.NEEDS_TRUST),
    ],
)
def test_a_channel_that_may_not_be_used_is_never_asked(conda, channel, code):
    told = failure(conda, f"channels: ['{channel}']\ndependencies: [python]\n")
    assert told.code is code
    assert "secret" not in told.model_dump_json()
    assert not told.origins or told.origins[0].location.startswith("https://")


def test_even_an_administrator_cannot_allow_a_channel_of_files(conda, channel_directory):
    url = channel_directory.as_uri()
    told = failure(
        conda,
        f"channels: ['{url}']\ndependencies: [python]\n",
        rules=conda.rules(channels=(url,), trusted=trusted("channel", url)),
    )
    assert told.code is FailureCode.NOT_SUPPORTED


def test_a_channel_that_a_person_trusts_is_used(conda):
    rules = conda.rules(channels=(), trusted=trusted("channel", conda.channel.url))
    assert conda.lock("channels: [CHANNEL]\ndependencies: [python]\n", rules=rules).python


def test_what_is_allowed_and_is_no_channel_does_not_hinder(conda):
    rules = conda.rules(
        channels=(conda.channel.url, "file:///opt/channel"),
        trusted=trusted("channel", "git+https://git.example/team"),
    )
    assert conda.lock("channels: [CHANNEL]\ndependencies: [python]\n", rules=rules).python


@pytest.mark.parametrize(
    ("dependency", "code"),
    [
        ("conda-forge::greeter", FailureCode.NEEDS_TRUST),
        ("greeter[channel=conda-forge]", FailureCode.NEEDS_TRUST),
        ("https://conda.example/noarch/greeter-1.0-0.conda", FailureCode.NOT_SUPPORTED),
        ("./greeter-1.0-0.conda", FailureCode.NOT_SUPPORTED),
        ("greeter[url='https://conda.example/noarch/g-1-0.conda']", FailureCode.NOT_SUPPORTED),
    ],
)
def test_a_dependency_cannot_bring_its_own_channel(conda, dependency, code):
    told = failure(conda, f'channels: [CHANNEL]\ndependencies: ["{dependency}"]\n')
    assert told.code is code


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [
        (500, FailureCode.OFFLINE, True),
        (503, FailureCode.OFFLINE, True),
        (401, FailureCode.AUTH_REQUIRED, False),
        (403, FailureCode.AUTH_REQUIRED, False),
        (404, FailureCode.OFFLINE, False),
    ],
)
def test_a_channel_that_answers_with_an_error_is_named(fresh, status, code, retryable):
    fresh.channel.answers["repodata.json"] = conda_channel.status(status)
    told = failure(fresh, "channels: [CHANNEL]\ndependencies: [python]\n")
    assert (told.code, told.retryable) == (code, retryable), told
    assert fresh.channel.url in told.summary


def test_credentials_come_from_netrc_and_are_kept_nowhere(fresh):
    fresh.channel.credentials = ("me", "word-of-mine")
    told = failure(fresh, "channels: [CHANNEL]\ndependencies: [python]\n")
    assert (told.code, "~/.netrc" in told.text) == (FailureCode.AUTH_REQUIRED, True)
    netrc = fresh.root / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password word-of-mine\n")
    netrc.chmod(0o600)
    environment = fresh.install(fresh.lock("channels: [CHANNEL]\ndependencies: [python]\n"))
    netrc.unlink()
    assert (environment / "bin/python").exists()
    kept = [path for path in fresh.root.rglob("*") if path.is_file() and not path.is_symlink()]
    assert not [path for path in kept if b"word-of-mine" in path.read_bytes()]
    assert "word-of-mine" not in " ".join(fresh.told.lines)


def test_a_channel_that_nobody_serves_is_named(fresh):
    fresh.channel.url = "http://127.0.0.1:9/nobody"
    told = failure(fresh, "channels: [CHANNEL]\ndependencies: [python]\n")
    assert (told.code, told.retryable) == (FailureCode.OFFLINE, True)
    assert "http://127.0.0.1:9/nobody" in told.summary


def test_without_a_network_a_channel_that_was_never_used_is_told(fresh):
    told = failure(
        fresh, "channels: [CHANNEL]\ndependencies: [python]\n", rules=fresh.rules(offline=True)
    )
    assert told.code is FailureCode.OFFLINE
    assert fresh.channel.requests == []


# -------------------------------------------------------------------------------------- installing

SMALL = "channels: [CHANNEL]\ndependencies: [python, greeter=1]\n"


def broken(conda, lock, **more):
    with pytest.raises(EnvironmentFailed) as caught:
        conda.install(lock, **more)
    return caught.value.failure


def test_a_package_that_is_not_what_the_lock_says_is_refused(fresh, channel_directory):
    lock = fresh.lock(SMALL)
    other = (channel_directory / "noarch/greeter-2.0-0.conda").read_bytes()
    fresh.channel.answers["greeter-1.0-0.conda"] = conda_channel.content(other)
    told = broken(fresh, lock)
    assert told.code is FailureCode.HASH_MISMATCH
    assert "greeter-1.0-0.conda" in told.summary
    assert not (fresh.root / "env").exists()


def test_a_package_that_is_gone_is_named(fresh):
    lock = fresh.lock(SMALL)
    fresh.channel.answers["greeter-1.0-0.conda"] = conda_channel.status(404)
    told = broken(fresh, lock)
    assert told.code is FailureCode.OFFLINE
    assert "greeter-1.0-0.conda" in told.summary


def test_a_file_that_was_changed_through_an_environment_is_not_given_to_the_next(conda):
    lock = conda.lock(SMALL)
    first = conda.install(lock, "first")
    module = f"lib/python{conda_channel.SHORT}/site-packages/greeter.py"
    with (first / module).open("a") as file:
        file.write("# changed\n")
    second = conda.install(lock, "second")
    assert "# changed" not in (second / module).read_text()


def test_a_lock_of_files_is_refused_since_nobody_would_compare_their_hashes(
    conda, channel_directory
):
    lock = conda.lock(SMALL).content
    files = lock.replace(conda.channel.url.encode(), channel_directory.as_uri().encode())
    told = broken(conda, files)
    assert told.code is FailureCode.DAMAGED
    assert "not had by http" in told.tool_output


def test_a_package_of_another_channel_is_never_taken_for_one_of_the_same_name(
    conda, tmp_path, channel_directory, in_environment
):
    other = tmp_path / "other"
    for path in channel_directory.glob("*/*.conda"):
        if path.name != "greeter-1.0-0.conda":
            (other / path.parent.name).mkdir(parents=True, exist_ok=True)
            (other / path.parent.name / path.name).hardlink_to(path)
    impostor: dict[str, bytes | Path] = {
        "site-packages/greeter.py": b"def main():\n    print('hello from elsewhere')\n"
    }
    conda_channel.Package("greeter", "1.0", ["python"], impostor, noarch="python").write(other)
    conda_channel.index(other)
    say = ("-c", "import greeter; greeter.main()")
    assert in_environment(conda.install(conda.lock(SMALL), "ours"), *say) == "hello from 1.0"
    with conda_channel.serve(other) as served:
        found = conda.found(SMALL.replace("CHANNEL", served.url))
        lock = conda.lock(found, rules=conda.rules(channels=(served.url,)))
        theirs = conda.install(lock, "theirs")
    assert in_environment(theirs, *say) == "hello from elsewhere"
    again = conda.install(conda.lock(SMALL), "again")
    assert in_environment(again, *say) == "hello from 1.0"


def test_a_damaged_lock_is_told(conda):
    lock = conda.lock(SMALL)
    for content in (b"", b"{}", lock.content[:300], lock.content.replace(b'"packages"', b'"p"')):
        assert broken(conda, content).code is FailureCode.DAMAGED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a disk that is full")
def test_a_full_disk_is_told(conda, tmp_path: Path):
    lock = conda.lock(SMALL)
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", small]).returncode:
        pytest.skip("this machine lets nobody mount")
    try:
        told = broken(conda, lock, cache=small / "cache")
    finally:
        subprocess.run(["umount", small], check=True)
    assert (told.code, told.retryable) == (FailureCode.DISK_FULL, True), told


def test_without_py_rattler_it_says_what_to_install(conda, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "rattler", None)
    told = failure(conda, SMALL)
    assert told.code is FailureCode.NOT_SUPPORTED
    assert "element-jupyter[conda]" in told.text
