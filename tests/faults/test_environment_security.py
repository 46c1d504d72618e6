"""What a definition, a package or an index that means harm can do: nothing that was not allowed."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from element_jupyter.adapters.sandbox import Bubblewrap
from element_jupyter.cli.main import main
from element_jupyter.core.environments.building import EnvironmentFailed, Failure, FailureCode
from element_jupyter.core.environments.definitions import OriginKind
from element_jupyter.core.environments.keeping import State
from element_jupyter.core.errors import ElementError, Unavailable
from element_jupyter.core.kernel_variables import kernel_environment
from tests import conda_channel
from tests.package_index import EPOCH, PackageIndex, Served
from tests.platform.environments.deployment import (
    Deployment,
    a_deployment,
    an_index,
    nobody,
)

SECRET = "hunter2-c0rrect-h0rse"
SECRETS = (
    "JUPYTERHUB_API_TOKEN",
    "JUPYTER_TOKEN",
    "ELEMENT_RUN_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "UV_INDEX_CORP_PASSWORD",
    "UV_PUBLISH_TOKEN",
)
needs_bubblewrap = pytest.mark.skipif(
    Bubblewrap().unavailable is not None, reason=str(Bubblewrap().unavailable)
)


class Said(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("uv-cache")


@pytest.fixture
def deployment(tmp_path, cache, monkeypatch) -> Iterator[Deployment]:
    """A person's installation; their variables have secrets, and so has their home."""
    with an_index() as index, a_deployment(tmp_path / "deployment", index, cache) as made:
        home = tmp_path / "home"
        home.mkdir()
        (home / ".netrc").write_text(f"machine a.example login bob password {SECRET}\n")
        (home / ".netrc").chmod(0o600)
        for name in SECRETS:
            monkeypatch.setenv(name, SECRET)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        monkeypatch.setenv("ELEMENT_DATA_DIR", str(made.data))
        monkeypatch.setenv("ELEMENT_ENVIRONMENT_STORE", str(made.store))
        monkeypatch.setenv("ELEMENT_ENVIRONMENTS_DIR", str(made.shared))
        monkeypatch.setenv("ELEMENT_INDEX_URLS", index.url)
        monkeypatch.chdir(made.project)
        yield made


@pytest.fixture
def other_index() -> Iterator[PackageIndex]:
    """An index that nobody has allowed."""
    with PackageIndex() as index:
        yield index


@pytest.fixture
def element(deployment, capsys) -> Callable[..., Said]:
    def run(*words: object) -> Said:
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return run


@pytest.fixture
def marker(tmp_path) -> Path:
    """A file that is there as soon as something has run that must not."""
    return tmp_path / "ran"


def write(deployment: Deployment, **files: str) -> None:
    for name, text in files.items():
        (deployment.project / re.sub(r"__", ".", name)).write_text(text)


def failure(deployment: Deployment, project: Path | None = None, **settings: Any) -> Failure:
    """Why the environment of a project is not made."""
    environments = deployment.environments(**settings)
    with pytest.raises(EnvironmentFailed) as caught:
        environments.ensure(environments.find(project or deployment.project), nobody)
    return caught.value.failure


def built(deployment: Deployment, project: Path | None = None, **settings: Any) -> Any:
    environments = deployment.environments(**settings)
    return environments.ensure(environments.find(project or deployment.project), nobody)


def versions(environment: Any) -> dict[str, str]:
    return {each.name: each.version for each in environment.manifest.packages}


def print_with(environment: Any, code: str) -> str:
    done = subprocess.run(
        [environment.python, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout


# ------------------------------------------------------------------------------- building packages

EVIL = """
import os, socket, zipfile

def attempt(what, *words):
    try:
        return what(*words) or True
    except OSError:
        return False

def touch(path):
    open(path, "w").close()

def read(path):
    return open(path).read()

def reached(host, port):
    socket.create_connection((host, port), 2).close()

SEEN = {
    "variables": dict(os.environ),
    "home": attempt(os.listdir, os.environ["HOME"]),
    "netrc": attempt(read, @netrc@),
    "request": attempt(os.listdir, @store@),
    "wrote": [each for each in @places@ if attempt(touch, each)],
    "reached": [each for each in @addresses@ if attempt(reached, *each)],
    "processes": [attempt(read, f"/proc/{each}/environ") for each in os.listdir("/proc")
        if each.isdigit()],
}
"""
BACKEND = """
def get_requires_for_build_wheel(config_settings=None):
    return []

def build_wheel(directory, config_settings=None, metadata_directory=None):
    info = "evil-1.0.dist-info"
    files = {
        "evil.py": "SEEN = " + repr(SEEN),
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\n"
            "Tag: py3-none-any\\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\\n" for name in files)
    with zipfile.ZipFile(os.path.join(directory, "evil-1.0-py3-none-any.whl"), "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return "evil-1.0-py3-none-any.whl"
"""
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""


def offer_evil(deployment: Deployment, marker: Path, other: PackageIndex, more: str = "") -> None:
    """Offer a package of source only that tries what it can when it is built."""
    places = [marker, deployment.store / "x", deployment.store / "uv-cache" / "x"]
    places += [deployment.project / "x", Path.home() / "x", deployment.data / "x"]
    addresses = [
        each.origin.removeprefix("http://").split(":") for each in (other, deployment.index)
    ]
    text = EVIL
    for name, value in {
        "netrc": str(Path.home() / ".netrc"),
        "store": str(deployment.store / "builds"),
        "places": [str(each) for each in places],
        "addresses": [(host, int(port)) for host, port in addresses],
    }.items():
        text = text.replace(f"@{name}@", repr(value))
    deployment.index.sdist(
        "evil",
        setup=text,
        files={"backend.py": text + BACKEND + more, "pyproject.toml": PYPROJECT},
    )


def left_behind(deployment: Deployment, marker: Path) -> list[Path]:
    places = (marker.parent, deployment.store, deployment.store / "uv-cache", Path.home())
    return [each / name for each in places for name in ("x", "ran") if (each / name).exists()]


@needs_bubblewrap
def test_a_build_script_runs_with_trust_only_and_then_where_it_can_do_no_harm(
    deployment, element, marker, other_index
):
    offer_evil(deployment, marker, other_index)
    deployment.requires("evil", "tables")
    refused = element("env", "build")
    assert refused.code == 1
    assert "evil" in refused.err
    assert left_behind(deployment, marker) == []
    assert other_index.requests == []

    assert element("env", "trust", "--yes").code == 0
    assert element("env", "build").code == 0

    environment = built(deployment)
    seen = json.loads(print_with(environment, "import evil, json; print(json.dumps(evil.SEEN))"))
    assert SECRET not in json.dumps(seen)
    assert not set(seen["variables"]) & {*SECRETS, "ELEMENT_DATA_DIR", "JPY_PARENT_PID"}
    assert seen["home"] in ([], True)
    assert seen["netrc"] is seen["request"] is False
    assert seen["reached"] == []
    assert left_behind(deployment, marker) == []
    assert other_index.requests == []


@needs_bubblewrap
def test_what_was_built_is_the_same_in_a_store_that_has_but_the_lock(
    deployment, marker, other_index, tmp_path
):
    offer_evil(deployment, marker, other_index, "SEEN['number'] = os.urandom(8).hex()")
    deployment.requires("evil")
    here = deployment.environments(allowed_builds=["evil"])
    locked, content = here.lock(here.find(deployment.project), nobody)
    first = here.ensure(here.find(deployment.project), nobody)
    deployment.index.remove("evil")
    fresh = deployment.environments(environment_store=str(tmp_path / "fresh"))

    from element_jupyter.core.environments.keeping import Pin

    pin = Pin(
        environment_id=locked.environment_id,
        lock_id=locked.lock_id,
        definition="requirements.txt",
        python=first.manifest.python,
    )
    second = fresh.ensure_locked(pin, content, nobody)

    assert second.manifest.environment_id == first.manifest.environment_id
    (one,) = first.directory.glob("lib/*/site-packages/evil.py")
    (two,) = second.directory.glob("lib/*/site-packages/evil.py")
    assert one.read_bytes() == two.read_bytes()
    assert one.parent.joinpath("evil-1.0.dist-info/RECORD").read_bytes() == (
        two.parent.joinpath("evil-1.0.dist-info/RECORD").read_bytes()
    )


@needs_bubblewrap
def test_a_lock_for_people_names_the_source_and_not_what_was_built(
    deployment, element, marker, other_index
):
    offer_evil(deployment, marker, other_index)
    deployment.requires("evil")
    assert element("env", "build").code == 1
    assert element("env", "trust", "--yes").code == 0

    assert element("env", "lock").code == 0

    lock = (deployment.project / "pylock.toml").read_text()
    assert "evil-1.0.tar.gz" in lock
    assert "built" not in lock
    assert element("env", "lock", "--check").code == 0
    assert element("env", "build").code == 0


@needs_bubblewrap
def test_links_that_a_build_leaves_are_not_followed(deployment, marker, other_index):
    secret = Path.home() / ".netrc"
    more = f"""
def build_wheel(directory, config_settings=None, metadata_directory=None):
    name = "evil-1.0-py3-none-any.whl"
    os.symlink({str(secret)!r}, os.path.join(directory, name))
    return name

def prepare_metadata_for_build_wheel(directory, config_settings=None):
    info = os.path.join(directory, "evil-1.0.dist-info")
    os.mkdir(info)
    with open(os.path.join(info, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: evil\\nVersion: 1.0\\n")
    return "evil-1.0.dist-info"
"""
    offer_evil(deployment, marker, other_index, more)
    deployment.requires("evil")

    found = failure(deployment, allowed_builds=["evil"])

    assert SECRET not in found.text


def test_without_a_sandbox_nothing_is_built_and_that_is_said(
    deployment, marker, other_index, monkeypatch
):
    offer_evil(deployment, marker, other_index)
    deployment.requires("evil")
    monkeypatch.setenv("PATH", str(deployment.directory / "nothing"))

    refused = failure(deployment, allowed_builds=["evil"])

    assert refused.code is FailureCode.NOT_SUPPORTED
    assert "bwrap" in refused.summary
    assert left_behind(deployment, marker) == []


def test_a_project_is_not_built_to_learn_what_it_needs(deployment, element, marker):
    write(
        deployment,
        pyproject__toml='[project]\nname = "x"\nversion = "1"\ndynamic = ["dependencies"]\n',
        setup__py=f"open({str(marker)!r}, 'w').close()\nimport setuptools; setuptools.setup()\n",
    )

    said = element("env", "build")

    assert said.code == 1
    assert "dynamic" in said.err
    assert not marker.exists()


# ------------------------------------------------------------------------------------- wheels


def offer_wheel(index: PackageIndex, name: str, members: list[tuple[zipfile.ZipInfo, bytes]]):
    """Offer a wheel with such members besides its own."""
    plain = index.wheel(name)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as new, zipfile.ZipFile(io.BytesIO(plain.content)) as old:
        for info in old.infolist():
            new.writestr(info, old.read(info))
        for info, content in members:
            new.writestr(info, content)
    served = Served(plain.project, plain.version, plain.filename, packed.getvalue())
    index.files[plain.filename] = served


def member(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, EPOCH)
    info.external_attr = mode << 16
    return info


def test_a_wheel_writes_nothing_outside_of_its_environment(deployment, marker):
    up = "../" * 30
    hostile = {
        "upward": [(member(f"{up}{str(marker).lstrip('/')}"), b"x")],
        "absolute": [(member(str(marker)), b"x")],
        "linked": [
            (member("way", 0o120777), str(marker.parent).encode()),
            (member("way/ran"), b"x"),
        ],
        "data": [(member(f"data-1.0.data/data/{up}{str(marker).lstrip('/')}"), b"x")],
    }
    for name, members in hostile.items():
        offer_wheel(deployment.index, name, members)
        deployment.requires(name)
        try:
            environment = built(deployment)
        except EnvironmentFailed:
            assert list((deployment.store / "tmp").iterdir()) == []
        else:
            out = [each for each in environment.directory.rglob("*") if each.is_symlink()]
            assert not [each for each in out if marker.parent == each.resolve()]
        assert not marker.exists(), name


def test_start_up_code_of_a_package_sees_no_credentials_while_it_is_installed(deployment, marker):
    code = f"import os; open({str(marker)!r}, 'a').write(repr(dict(os.environ)) + os.getcwd())\n"
    deployment.index.wheel("eager", files={"eager.pth": code, "eager.py": ""})
    deployment.requires("eager")

    environment = built(deployment)

    deployment.at_rest()
    seen = marker.read_text() if marker.exists() else ""
    assert SECRET not in seen
    assert "ELEMENT_DATA_DIR" not in seen
    assert str(Path.home()) not in seen.replace(str(environment.directory), "")


def test_a_package_cannot_bring_in_another_by_its_address(deployment, other_index):
    other_index.wheel("lamps")
    url = f"{other_index.origin}/files/lamps-1.0-py3-none-any.whl"
    deployment.index.wheel("desks", requires=[f"lamps @ {url}"])
    deployment.requires("desks")

    failure(deployment)

    assert other_index.requests == []


# ------------------------------------------------------------------------------------- indexes

PROJECT = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.9"\n'
HOSTILE_SETTINGS = """
index-strategy = "unsafe-best-match"
keyring-provider = "subprocess"
no-build-isolation = true
no-build = false
no-binary = true
cache-dir = "{marker}"
python-downloads = "automatic"
allow-insecure-host = ["127.0.0.1"]
http-proxy = "{other}"
https-proxy = "{other}"
offline = true
no-cache = true
link-mode = "symlink"
config-settings = {{ editable_mode = "compat" }}
"""


@pytest.fixture
def two_indexes(deployment, other_index) -> dict[str, Any]:
    """The company's own index, and a public one with a newer package of the same name."""
    other_index.wheel("tables", "9.0")
    return {"index_urls": [deployment.index.url, other_index.url]}


def keyring(deployment: Deployment, marker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = deployment.directory / "bin"
    programs.mkdir()
    (programs / "keyring").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (programs / "keyring").chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


@pytest.mark.parametrize("kind", ["requirements", "pyproject", "pip", "inline"])
def test_the_first_index_wins_whatever_a_definition_says(
    deployment, two_indexes, marker, monkeypatch, kind
):
    keyring(deployment, marker, monkeypatch)
    with PackageIndex() as proxy:
        settings = HOSTILE_SETTINGS.format(marker=marker, other=proxy.origin)
        project = f'{PROJECT}dependencies = ["tables"]\n'
        files = {
            "requirements": {"requirements__txt": "--pre\n--trusted-host 127.0.0.1\ntables\n"},
            "pyproject": {"pyproject__toml": f"{project}[tool.uv]\n{settings}"},
            "pip": {"pyproject__toml": f"{project}[tool.uv.pip]\n" + settings_of_pip(settings)},
        }
        write(
            deployment,
            uv__toml=settings,
            __env=f"UV_INDEX_STRATEGY=unsafe-best-match\nUV_CACHE_DIR={marker}\n",
            **files.get(kind, {}),
        )
        if kind == "inline":
            write_inline(deployment, f'dependencies = ["tables"]\n[tool.uv]\n{settings}')
        environment = built(deployment, deployment.project / "a.ipynb", **two_indexes)

        assert versions(environment)["tables"] == "1.0"
        assert proxy.requests == []
    assert not marker.exists()
    assert not [each for each in environment.directory.rglob("*.py") if each.is_symlink()]


def write_inline(deployment: Deployment, text: str) -> None:
    """Write a notebook that has a definition in a cell."""
    lines = [f"# {each}".rstrip() for each in text.splitlines()]
    block = "\n".join(["# /// script", *lines, "# ///"])
    cell = {"cell_type": "code", "source": block, "metadata": {}, "outputs": []}
    (deployment.project / "a.ipynb").write_text(
        json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})
    )


def settings_of_pip(settings: str) -> str:
    known = ("index-strategy", "keyring", "no-build", "no-binary", "link-mode", "config-settings")
    return "\n".join(each for each in settings.splitlines() if each.startswith(known))


DETOURS = {
    "an override": '[tool.uv]\noverride-dependencies = ["chairs @ {wheel}"]',
    "a constraint": '[tool.uv]\nconstraint-dependencies = ["chairs @ {wheel}"]',
    "a constraint of builds": '[tool.uv]\nbuild-constraint-dependencies = ["chairs @ {wheel}"]',
    "a source of what is needed indirectly": '[tool.uv.sources]\nchairs = {{ url = "{wheel}" }}',
    "an override whose source is a path": '[tool.uv]\noverride-dependencies = ["chairs"]\n'
    '[tool.uv.sources]\nchairs = {{ path = "/etc" }}',
    "a source from git": '[tool.uv.sources]\nchairs = {{ git = "{other}/chairs.git" }}',
    "metadata": '[[tool.uv.dependency-metadata]]\nname = "tables"\nversion = "1.0"\n'
    'requires-dist = ["chairs @ {wheel}"]',
    "a group": '[dependency-groups]\ndev = ["chairs @ {wheel}"]',
    "an extra": '[project.optional-dependencies]\nmore = ["chairs @ {wheel}"]',
    "old dev-dependencies": '[tool.uv]\ndev-dependencies = ["chairs @ {wheel}"]',
    "an index that is explicit": '[[tool.uv.index]]\nname = "o"\nurl = "{other}/simple"\n'
    'explicit = true\n[tool.uv.sources]\nchairs = {{ index = "o" }}',
    "a mirror": '[tool.uv]\npython-install-mirror = "{other}"\npypy-install-mirror = "{other}"',
    "a credential's host": '[tool.uv]\ncheck-url = "{other}/simple"\npublish-url = "{other}"',
    "a build backend": '[build-system]\nrequires = ["chairs @ {wheel}"]\nbuild-backend = "chairs"',
}


@pytest.mark.parametrize("kind", ["pyproject", "inline"])
@pytest.mark.parametrize("text", DETOURS.values(), ids=DETOURS)
def test_nobody_is_asked_for_packages_who_is_not_trusted(deployment, other_index, text, kind):
    other_index.wheel("chairs", "9.0")
    wheel = f"{other_index.origin}/files/chairs-9.0-py3-none-any.whl"
    text = text.format(wheel=wheel, other=other_index.origin)
    if kind == "pyproject":
        write(deployment, pyproject__toml=f'{PROJECT}dependencies = ["tables"]\n{text}\n')
    else:
        write_inline(deployment, f'dependencies = ["tables"]\n{text}')
    environments = deployment.environments()

    with contextlib.suppress(ElementError):
        environments.lock(environments.find(deployment.project / "a.ipynb"), nobody)

    assert other_index.requests == []


AGAIN = {
    "requirements": ("requirements__txt", "tables\n--extra-index-url {url}\n"),
    "pyproject": (
        "pyproject__toml",
        PROJECT + 'dependencies = ["tables"]\n[[tool.uv.index]]\nname = "p"\nurl = "{url}"\n',
    ),
    "old words": (
        "pyproject__toml",
        PROJECT + 'dependencies = ["tables"]\n[tool.uv]\nextra-index-url = ["{url}"]\n',
    ),
}


@pytest.mark.parametrize(("file", "text"), AGAIN.values(), ids=AGAIN)
def test_to_name_the_public_index_again_does_not_put_it_first(
    deployment, two_indexes, other_index, file, text
):
    write(deployment, **{file: text.format(url=other_index.url)})
    environments = deployment.environments(**two_indexes)

    _, lock = environments.lock(environments.find(deployment.project), nobody)

    assert b"tables-1.0-py3" in lock


HOSTILE_LINES = [
    "--index-strategy unsafe-best-match\ntables",
    "-e .",
    "-e git+https://a.example/b.git",
    "tables --config-settings=x=y",
    "tables --global-option=--help",
    "../../x",
    "./x",
    "/etc/passwd",
    "x @ file:///etc/passwd",
    "a;rm -rf /",
    "a`touch b`",
    "$(touch b)",
    "tables\x00",
    "tables\x1b[31m==1.0 --hash=sha256:0 !",
    "-r ../../../etc/passwd",
    "-r /etc/passwd",
    "-r https://a.example/r.txt",
    "-c ../x.txt",
    "--find-links /etc",
    "--index-url file:///etc",
    "--extra-index-url https://${UV_INDEX_CORP_PASSWORD}.a.example/simple\ntables",
    "x @ git+https://a.example/b.git@--upload-pack=touch",
    "x @ git+ssh://-oProxyCommand=touch/b",
    "x @ git+file:///etc",
    "x @ hg+https://a.example/b",
    "--keyring-provider subprocess\ntables",
    "--cache-dir /tmp/x\ntables",
    "--python /tmp/x\ntables",
    "a" * 1_000_000,
    "tables\n" * 500_000 + "b c",
    "-r requirements.txt",
]


@pytest.mark.parametrize("lines", HOSTILE_LINES, ids=lambda text: repr(text[:40]))
def test_a_hostile_line_is_refused_in_words_and_soon(deployment, lines):
    write(deployment, requirements__txt=f"{lines}\n")
    began = time.monotonic()
    environments = deployment.environments()

    with pytest.raises(ElementError) as refused:
        environments.lock(environments.find(deployment.project), nobody)

    assert time.monotonic() - began < 20
    assert refused.value.message
    assert len(str(refused.value)) < 5_000
    assert "\x1b" not in refused.value.message
    assert SECRET not in repr(refused.value.problem)
    assert deployment.index.requests == []


def test_a_bomb_is_refused_soon(deployment):
    anchors = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    for name, text in {
        "environment.yml": f"{anchors}dependencies: *a11\n",
        "pyproject.toml": f"{PROJECT}dependencies = {'[' * 5000}{']' * 5000}\n",
    }.items():
        path = deployment.project / name
        path.write_text(text)
        began = time.monotonic()
        with pytest.raises(ElementError) as refused:
            deployment.environments().find(deployment.project)
        assert time.monotonic() - began < 5
        assert refused.value.message
        path.unlink()


# --------------------------------------------------------------------------------- what was locked


def test_a_file_that_is_not_what_its_hash_says_is_not_installed(deployment):
    deployment.index.wheel("vases")
    deployment.requires(f"vases==1.0 --hash=sha256:{'0' * 64}")
    assert failure(deployment).code is FailureCode.HASH_MISMATCH

    environments = deployment.environments()
    deployment.requires("vases")
    found = environments.find(deployment.project)
    environments.lock(found, nobody)
    deployment.index.corrupt("vases")

    assert failure(deployment).code is FailureCode.HASH_MISMATCH
    assert not list(deployment.store.glob("envs/*"))


def test_a_lock_that_was_changed_in_the_store_is_not_used(deployment, other_index):
    deployment.index.wheel("vases", "2.0")
    evil = other_index.wheel("vases", "2.0", files={"vases.py": "EVIL = True\n"})
    deployment.requires("vases")
    environments = deployment.environments()
    locked, content = environments.lock(environments.find(deployment.project), nobody)
    (path,) = deployment.store.glob(f"locks/**/*{locked.lock_id[2:]}*")
    path.chmod(0o600)
    good = deployment.index.files["vases-2.0-py3-none-any.whl"]
    path.write_bytes(
        content.replace(good.sha256.encode(), evil.sha256.encode()).replace(
            deployment.index.origin.encode(), other_index.origin.encode()
        )
    )

    environment = built(deployment)

    assert print_with(environment, "import vases; print(vases.__version__)") == "2.0\n"
    assert other_index.requests == []


def test_a_package_that_was_changed_in_the_cache_is_not_installed(deployment, cache):
    deployment.index.wheel("bowls", files={"bowls.py": "GOOD = True\n"})
    deployment.requires("bowls")
    built(deployment)
    for path in cache.glob("archive-v*/*/bowls.py"):
        path.unlink()
        path.write_text("GOOD = False\n")
    deployment.requires("bowls", "stools")

    environment = built(deployment)

    assert print_with(environment, "import bowls; print(bowls.GOOD)") == "True\n"


# ------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize("given", ["netrc", "variables"])
def test_credentials_are_in_nothing_that_is_kept_shown_or_passed_on(
    deployment, element, monkeypatch, given
):
    deployment.index.credentials = ("bob", SECRET)
    if given == "netrc":
        (Path.home() / ".netrc").write_text(f"machine 127.0.0.1 login bob password {SECRET}\n")
        (Path.home() / ".netrc").chmod(0o600)
        monkeypatch.delenv("UV_INDEX_CORP_PASSWORD")
    else:
        monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "bob")
        monkeypatch.setenv("ELEMENT_INDEX_URLS", f"corp={deployment.index.url}")
    deployment.requires("tables")
    (deployment.project / "a.ipynb").write_text(
        '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
    )

    said = [
        element("env", *words) for words in (("build", "--json"), ("lock",), ("show", "--json"))
    ]

    assert [each.code for each in said] == [0, 0, 0], said
    assert SECRET not in "".join(each.out + each.err for each in said)
    deployment.at_rest()
    kept = [
        path
        for top in (deployment.directory, deployment.store / "uv-cache")
        for path in top.rglob("*")
        if path.is_file() and SECRET.encode() in path.read_bytes()
    ]
    assert kept == []
    made = json.loads(said[0].out)
    variables = kernel_environment(
        os.environ, prefix=Path(made["directory"]), environment_id=made["environment_id"]
    )
    assert not [name for name in variables if "INDEX" in name]
    assert not [name for name in SECRETS if name in variables and not name.startswith("AWS")]


@pytest.mark.parametrize("way", ["variables", "name"])
def test_the_password_of_one_index_is_not_sent_to_another(
    deployment, other_index, monkeypatch, way
):
    monkeypatch.setenv("UV_INDEX_CORP_USERNAME", "bob")
    other_index.wheel("lamps")
    other_index.credentials = ("bob", SECRET)
    settings: dict[str, Any] = {"index_urls": [f"corp={deployment.index.url}"]}
    if way == "variables":
        user = "${UV_INDEX_CORP_USERNAME}:${UV_INDEX_CORP_PASSWORD}@"
        deployment.requires(
            "lamps", f"--extra-index-url {other_index.url.replace('//', f'//{user}')}"
        )
    else:
        named = f'[[tool.uv.index]]\nname = "corp"\nurl = "{other_index.url}"\n'
        write(deployment, pyproject__toml=f'{PROJECT}dependencies = ["lamps"]\n{named}')
    refused = failure(deployment, **settings)
    assert refused.code is FailureCode.NEEDS_TRUST
    deployment.environments().trust(deployment.project, refused.origins, "bob")

    refused = failure(deployment, **settings)

    assert refused.code in {FailureCode.AUTH_REQUIRED, FailureCode.NOT_SUPPORTED}
    assert not [each for each in other_index.requests if each.startswith("/files/")]


# ------------------------------------------------------------------------------------------- trust


def test_trust_is_of_one_project_and_one_place(deployment, other_index):
    other_index.wheel("lamps")
    lines = f"lamps\n--extra-index-url {other_index.url}\n"
    write(deployment, requirements__txt=lines)
    refused = failure(deployment)
    assert refused.code is FailureCode.NEEDS_TRUST
    environments = deployment.environments()
    environments.trust(deployment.project, refused.origins, "ada")
    assert versions(built(deployment))["lamps"] == "1.0"
    assert environments.state_of(environments.find(deployment.project)).state is State.READY

    elsewhere = deployment.directory / "elsewhere"
    (elsewhere / ".git").mkdir(parents=True)
    (elsewhere / "requirements.txt").write_text(lines)
    moved = environments.find(elsewhere)

    assert environments.ready(moved) is None
    assert failure(deployment, elsewhere).code is FailureCode.NEEDS_TRUST
    assert environments.state_of(moved).state is State.FAILED
    assert environments.ready(environments.find(deployment.project)) is not None
    with PackageIndex() as third:
        third.wheel("lamps")
        write(deployment, requirements__txt=f"lamps\n--extra-index-url {third.url}\n")
        assert failure(deployment).code is FailureCode.NEEDS_TRUST
        assert third.requests == []


def test_trust_in_a_channel_is_of_one_project_too(deployment, tmp_path_factory):
    pytest.importorskip("rattler")
    directory = conda_channel.cached(tmp_path_factory.getbasetemp().parent / "conda-channels")
    with conda_channel.serve(directory) as channel:
        text = f"channels:\n  - {channel.url}\ndependencies:\n  - python\n"
        write(deployment, environment__yml=text)
        environments = deployment.environments()
        environments.trust(deployment.project, failure(deployment).origins, "ada")
        locked, _ = environments.lock(environments.find(deployment.project), nobody)
        assert locked.environment_id.startswith("cf-")
        elsewhere = deployment.directory / "elsewhere"
        (elsewhere / ".git").mkdir(parents=True)
        (elsewhere / "environment.yml").write_text(text)

        assert failure(deployment, elsewhere).code is FailureCode.NEEDS_TRUST
        # what needed no trust the first time needs none the second time
        again, _ = environments.lock(environments.find(deployment.project), nobody)
        assert again.lock_id == locked.lock_id


@needs_bubblewrap
def test_trust_in_a_source_is_of_one_project_too(deployment, marker, other_index):
    offer_evil(deployment, marker, other_index)
    deployment.requires("evil")
    refused = failure(deployment)
    assert [(each.kind, each.location) for each in refused.origins] == [(OriginKind.SDIST, "evil")]
    environments = deployment.environments()
    environments.trust(deployment.project, refused.origins, "ada")
    assert built(deployment)
    elsewhere = deployment.directory / "elsewhere"
    (elsewhere / ".git").mkdir(parents=True)
    (elsewhere / "requirements.txt").write_text("evil\n")

    assert environments.ready(environments.find(elsewhere)) is None
    assert failure(deployment, elsewhere).code is FailureCode.NO_WHEEL


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file to somebody else")
@pytest.mark.parametrize("change", ["owner", "mode"])
def test_what_somebody_else_has_written_is_no_trust(deployment, other_index, change):
    other_index.wheel("lamps")
    write(deployment, requirements__txt=f"lamps\n--extra-index-url {other_index.url}\n")
    environments = deployment.environments()
    environments.trust(deployment.project, failure(deployment).origins, "ada")
    path = deployment.store / "trust.json"
    if change == "owner":
        os.chown(path, 65534, 65534)
    else:
        path.chmod(0o666)

    with pytest.raises((Unavailable, EnvironmentFailed), match="trust"):
        environments.lock(environments.find(deployment.project), nobody)
    assert other_index.requests == []
