"""What definitions become when they are locked, against a real index."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from element_jupyter.adapters.definitions import DiskFiles, find
from element_jupyter.core.environments.building import FailureCode, Phase
from element_jupyter.core.environments.definitions import Found
from element_jupyter.core.environments.identity import Backend
from tests.adapters.uv.conftest import Bench, notebook

PROJECT = """
[project]
name = "analysis"
version = "1"
requires-python = ">=3.9"
dependencies = ["tables"]

[project.optional-dependencies]
gpu = ["plates"]

[dependency-groups]
dev = ["forks"]
"""


def packages(content: bytes) -> dict[str, dict]:
    return {each["name"]: each for each in tomllib.loads(content.decode())["packages"]}


def test_requirements_become_a_whole_lock_with_the_kernel(bench: Bench):
    lock = bench.lock("tables\n")
    assert lock.backend is Backend.UV
    assert bench.versions(lock) == {"chairs": "2.1", "ipykernel": "7.4.0", "tables": "1.0"}
    document = tomllib.loads(lock.content.decode())
    assert document["tool"]["element"] == {
        "schema": 1,
        "backend": "uv",
        "python": bench.interpreter.version,
        "meaning": bench.find().definition.meaning,
    }
    for artefact in bench.artefacts(lock):
        assert artefact.sha256 == bench.index.files[artefact.filename].sha256
        assert artefact.url == f"{bench.index.origin}/files/{artefact.filename}"
    assert Phase.RESOLVING in {phase for phase, *_ in bench.told.events}


def test_locking_twice_gives_the_same_bytes(bench: Bench):
    first = bench.lock("tables\nplates\n")
    assert bench.lock("plates  # of porcelain\r\ntables\r\n").content == first.content
    text = first.content.decode()
    assert "upload-time" not in text
    assert str(bench.directory) not in text
    assert [each["name"] for each in tomllib.loads(text)["packages"]] == [
        "chairs",
        "ipykernel",
        "plates",
        "tables",
    ]


def test_the_kernel_changes_no_version_that_the_definition_decides(bench: Bench):
    bench.index.kernel("8.0", requires=["chairs<2"])
    assert bench.versions(bench.lock("tables\n")) == {
        "chairs": "2.1",
        "ipykernel": "7.4.0",
        "tables": "1.0",
    }
    assert bench.versions(bench.lock("plates\n")) == {
        "chairs": "1.0",
        "ipykernel": "8.0",
        "plates": "1.0",
    }


def test_a_kernel_that_the_definition_pins_is_kept(bench: Bench):
    bench.index.kernel("6.0")
    assert bench.versions(bench.lock("ipykernel<7\ntables\n"))["ipykernel"] == "6.0"


def test_no_kernel_that_fits_is_told_as_such(bench: Bench):
    bench.index.remove("ipykernel")
    bench.index.kernel(requires=["chairs>=2"])
    failure = bench.failure("chairs==1.0\n")
    assert failure.code is FailureCode.NO_SOLUTION
    assert failure.title == "No notebook kernel goes with these packages"
    assert [(each.spec, each.line) for each in failure.culprits] == [("chairs==1.0", 1)]


def test_versions_of_an_earlier_lock_are_kept_unless_an_upgrade_is_wanted(bench: Bench):
    earlier = bench.lock("tables\n")
    bench.index.wheel("chairs", "3.0")
    kept = bench.lock("tables\nplates\n", previous=earlier.content)
    assert bench.versions(kept)["chairs"] == "2.1"
    newest = bench.lock("tables\nplates\n", previous=earlier.content, upgrade=True)
    assert bench.versions(newest)["chairs"] == "3.0"


@pytest.mark.parametrize("own", ["", '[tool.uv]\nprerelease = "disallow"\n'])
def test_versions_are_kept_in_projects_and_scripts_too(bench: Bench, own):
    script = (
        '# /// script\n# requires-python = ">=3.9"\n# dependencies = ["tables"]\n'
        + "".join(f"# {line}\n" for line in own.splitlines())
        + "# ///\n"
    )
    bench.index.wheel("forks")
    for document, before, after in (
        (None, PROJECT, PROJECT.replace('"tables"', '"tables", "plates"') + own),
        (notebook(script), "", ""),
    ):
        bench.write({"pyproject.toml": before})
        bench.index.remove("chairs")
        bench.index.wheel("chairs", "2.1")
        earlier = bench.lock(bench.find(document))
        bench.index.wheel("chairs", "3.0")
        bench.write({"pyproject.toml": after})
        kept = bench.lock(bench.find(document), previous=earlier.content)
        assert bench.versions(kept)["chairs"] == "2.1"
        newest = bench.lock(bench.find(document), previous=earlier.content, upgrade=True)
        assert bench.versions(newest)["chairs"] == "3.0"


def test_an_earlier_lock_that_is_damaged_does_no_harm(bench: Bench):
    assert bench.versions(bench.lock("plates\n", previous=b"\x00"))["plates"] == "1.0"


def test_constraints_and_includes_count(bench: Bench):
    bench.write(
        {
            "requirements.txt": "-r more/base.txt\n-c limits.txt\n",
            "more/base.txt": "tables\n",
            "limits.txt": "chairs<2.1\n",
        }
    )
    assert bench.versions(bench.lock())["chairs"] == "2.0"


def test_hashes_that_a_person_wrote_are_held_to(bench: Bench):
    names = {"tables": "1.0", "chairs": "2.1"}
    files = {
        name: bench.index.files[f"{name}-{version}-py3-none-any.whl"]
        for name, version in names.items()
    }
    text = "".join(
        f"{name}=={names[name]} \\\n    --hash=sha256:{each.sha256}\n"
        for name, each in files.items()
    )
    assert bench.versions(bench.lock(text))["tables"] == "1.0"
    failure = bench.failure(text.replace(files["chairs"].sha256, "0" * 64))
    assert failure.code is FailureCode.HASH_MISMATCH
    assert "chairs" in failure.summary
    assert [each.name for each in failure.culprits] == ["chairs"]


def test_an_index_without_hashes_is_read_until_there_are_some(bench: Bench):
    bench.index.without_hashes = bench.index.without_metadata = True
    for artefact in bench.artefacts(bench.lock("tables\n")):
        assert artefact.sha256 == bench.index.files[artefact.filename].sha256


def test_a_definition_without_packages_has_the_kernel_only(bench: Bench):
    assert bench.versions(bench.lock("# nothing yet\n")) == {"ipykernel": "7.4.0"}


def test_markers_of_other_systems_stay_in_the_lock_and_out_of_the_environment(bench: Bench):
    bench.write(
        {"pyproject.toml": PROJECT.replace('"tables"', "\"tables; sys_platform == 'win32'\"")}
    )
    bench.index.wheel("forks")
    lock = bench.lock()
    assert "tables" in packages(lock.content)
    assert "tables" not in bench.versions(lock)


class TestProjects:
    def test_a_project_is_locked_with_its_default_groups(self, bench: Bench):
        bench.index.wheel("forks")
        bench.write({"pyproject.toml": PROJECT})
        lock = bench.lock()
        assert bench.versions(lock) == {
            "chairs": "2.1",
            "forks": "1.0",
            "ipykernel": "7.4.0",
            "tables": "1.0",
        }
        assert packages(lock.content)["tables"]["index"] == bench.index.url
        assert "analysis" not in packages(lock.content)

    def test_definitions_further_down_are_resolved_where_they_are(self, bench: Bench):
        bench.write({"inside/requirements.txt": "-r ../base.txt\ntables\n", "base.txt": "plates\n"})
        (bench.project / ".git").mkdir()
        found = find(DiskFiles(bench.project), "inside/notebook.ipynb")
        assert isinstance(found, Found)
        assert {"tables", "plates"} <= set(bench.versions(bench.lock(found)))

    def test_a_variant_adds_its_extras(self, bench: Bench):
        bench.index.wheel("forks")
        variants = '\n[tool.element.variants.gpu]\nextras = ["gpu"]\n'
        bench.write({"pyproject.toml": PROJECT + variants})
        assert "plates" not in bench.versions(bench.lock())
        assert "plates" in bench.versions(bench.lock(bench.find(variant="gpu")))

    def test_a_fresh_lock_of_the_persons_own_is_taken_as_it_is(self, bench: Bench):
        self.lock_by_hand(bench)
        bench.index.wheel("chairs", "3.0")
        lock = bench.lock()
        assert bench.versions(lock)["chairs"] == "2.1"
        assert "older" not in bench.told.log
        bench.index.wheel("chairs", "3.0")
        assert bench.versions(bench.lock(upgrade=True))["chairs"] == "3.0"

    def test_a_stale_lock_keeps_its_versions_and_is_told_of_and_not_touched(self, bench: Bench):
        written = self.lock_by_hand(bench)
        bench.index.wheel("chairs", "3.0")
        bench.write({"pyproject.toml": PROJECT.replace('"tables"', '"tables", "plates"')})
        assert bench.versions(bench.lock()) == {
            "chairs": "2.1",
            "forks": "1.0",
            "ipykernel": "7.4.0",
            "plates": "1.0",
            "tables": "1.0",
        }
        assert "uv.lock is older than pyproject.toml" in bench.told.log
        assert (bench.project / "uv.lock").read_text() == written

    @pytest.mark.parametrize("locked", [False, True])
    def test_a_version_that_only_a_build_would_tell_is_done_without(self, bench, locked):
        bench.index.wheel("forks")
        evil = (
            "\n[build-system]\nrequires = ['evil-backend']\nbuild-backend = 'evil_backend'\n"
            "backend-path = ['.']\n"
        )
        text = PROJECT.replace('version = "1"', 'dynamic = ["version"]') + evil
        touched = bench.directory / "touched"
        bench.index.wheel("evil-backend", files={"evil_backend.py": f"open({str(touched)!r}, 'w')"})
        if locked:
            self.lock_by_hand(bench)
            lock = (bench.project / "uv.lock").read_text()
            # as uv writes it for such a project
            lock = lock.replace('name = "analysis"\nversion = "1"\n', 'name = "analysis"\n')
            lock = lock.replace('{ virtual = "." }', '{ editable = "." }')
            bench.write({"uv.lock": lock})
        bench.write({"pyproject.toml": text})
        assert "tables" in bench.versions(bench.lock())
        assert not touched.exists()
        assert not any("evil" in each for each in bench.index.requests)
        assert "older" not in bench.told.log

    def test_indexes_of_the_project_are_asked_as_uv_asks_them(self, bench: Bench, other_index):
        other_index.wheel("tables", "9.0")
        other_index.wheel("chairs", "9.0")
        bench.index.wheel("forks")
        text = (
            PROJECT
            + f'[[tool.uv.index]]\nname = "other"\nurl = "{other_index.url}"\nexplicit = true\n'
            + '[tool.uv.sources]\ntables = { index = "other" }\n'
        )
        bench.write({"pyproject.toml": text})
        bench.allow(trusted=frozenset(bench.find().definition.origins))
        lock = bench.lock()
        assert bench.versions(lock)["tables"] == "9.0"
        assert "chairs" not in bench.versions(lock)
        assert not any("chairs" in each or "forks" in each for each in other_index.requests)

    def test_settings_that_lead_elsewhere_are_not_followed(self, bench: Bench):
        bench.index.wheel("forks")
        bench.write(
            {
                "pyproject.toml": PROJECT
                + '[tool.uv]\ncache-dir = "/nowhere/at/all"\nno-binary = true\noffline = true\n',
                "uv.toml": "this is no TOML",
            }
        )
        assert bench.versions(bench.lock())["tables"] == "1.0"

    def lock_by_hand(self, bench: Bench) -> str:
        bench.index.wheel("forks")
        bench.write({"pyproject.toml": PROJECT})
        subprocess.run(
            [bench.uv.program, "lock", "--no-config", "--default-index", bench.index.url],
            cwd=bench.project,
            env={**bench.rules.variables, "UV_CACHE_DIR": str(bench.cache)},
            check=True,
            capture_output=True,
        )
        return (bench.project / "uv.lock").read_text()


class TestInline:
    def test_an_inline_definition_is_locked(self, bench: Bench):
        script = '# /// script\n# dependencies = ["tables"]\n# ///\nimport tables'
        lock = bench.lock(bench.find(notebook(script)))
        assert bench.versions(lock) == {"chairs": "2.1", "ipykernel": "7.4.0", "tables": "1.0"}

    def test_its_own_settings_count(self, bench: Bench, other_index):
        other_index.wheel("tables", "9.0")
        script = (
            '# /// script\n# dependencies = ["tables", "plates"]\n#\n# [tool.uv]\n'
            '# override-dependencies = ["chairs<2"]\n# [tool.uv.sources]\n'
            '# tables = { index = "other" }\n# [[tool.uv.index]]\n# name = "other"\n'
            f'# url = "{other_index.url}"\n# explicit = true\n# ///\n'
        )
        found = bench.find(notebook(script))
        bench.allow(trusted=frozenset(found.definition.origins))
        lock = bench.lock(found)
        assert bench.versions(lock)["tables"] == "9.0"
        assert bench.versions(lock)["plates"] == "1.0"
        assert tomllib.loads(lock.content.decode())["tool"]["element"]["indexes"] == {
            "other": other_index.url
        }


class TestLocks:
    def test_a_lone_lock_is_taken_and_the_kernel_added(self, bench: Bench):
        bench.write({"pylock.toml": self.of_tables(bench)})
        bench.allow(trusted=frozenset(bench.find().definition.origins))
        assert bench.versions(bench.lock()) == {
            "chairs": "2.0",
            "ipykernel": "7.4.0",
            "tables": "1.0",
        }

    def test_a_lock_of_ours_needs_no_index(self, bench: Bench):
        lock = bench.lock("tables\n")
        (bench.project / "requirements.txt").unlink()
        bench.write({"pylock.toml": lock.content})
        bench.allow(trusted=frozenset(bench.find().definition.origins))
        bench.index.status = 500
        bench.index.requests.clear()
        assert bench.versions(bench.lock()) == bench.versions(lock)
        assert bench.index.requests == []

    @pytest.mark.parametrize(
        "text",
        [
            'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "A_b"\nversion = "1"\n',
            'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "a"\nversion = "x"\n',
        ],
    )
    def test_a_lock_that_is_none_is_refused_by_name(self, bench: Bench, text):
        bench.write({"pylock.toml": text})
        failure = bench.failure()
        assert failure.code is FailureCode.PARSE_ERROR
        assert "pylock.toml" in failure.summary

    def test_a_lock_for_another_python_is_refused(self, bench: Bench):
        lock = bench.lock("plates\n").content.decode()
        lock = re.sub(r'requires-python = ".*"', 'requires-python = ">=3.99"', lock)
        with pytest.raises(Exception, match="does not fit this Python"):
            bench.uv.artefacts(lock.encode(), bench.interpreter)

    def of_tables(self, bench: Bench) -> str:
        rows = ['lock-version = "1.0"', 'created-by = "someone"']
        for name, version in (("tables", "1.0"), ("chairs", "2.0")):
            served = bench.index.files[f"{name}-{version}-py3-none-any.whl"]
            url = f"{bench.index.origin}/files/{served.filename}"
            file = f'{{ url = "{url}", hashes = {{ sha256 = "{served.sha256}" }} }}'
            rows += ["[[packages]]", f'name = "{name}"', f'version = "{version}"']
            rows += [f"wheels = [{file}]"]
        return "\n".join(rows)


def test_the_users_own_configuration_of_uv_is_not_read(bench: Bench, other_index):
    other_index.wheel("tables", "9.0")
    config = Path(bench.rules.variables["HOME"]) / ".config" / "uv"
    config.mkdir(parents=True)
    (config / "uv.toml").write_text(f'[[index]]\nurl = "{other_index.url}"\n')
    bench.set(UV_INDEX_URL=other_index.url, UV_DEFAULT_INDEX=other_index.url, PIP_INDEX_URL="x")
    assert bench.versions(bench.lock("tables\n"))["tables"] == "1.0"
    assert other_index.requests == []


def test_the_first_index_that_has_a_package_wins(bench: Bench, other_index):
    other_index.wheel("tables", "9.0")
    bench.allow(index_urls=(bench.index.url, other_index.url))
    assert bench.versions(bench.lock("tables\n"))["tables"] == "1.0"
    bench.allow(index_urls=(other_index.url, bench.index.url))
    assert bench.versions(bench.lock("tables\n"))["tables"] == "9.0"


def test_wheels_that_the_deployment_offers_in_a_directory_are_used(bench: Bench):
    wheels = bench.directory / "wheels"
    wheels.mkdir()
    served = bench.index.wheel("local-only", "1.0")
    (wheels / served.filename).write_bytes(served.content)
    bench.index.remove("local-only")
    bench.allow(find_links=(str(wheels),))
    lock = bench.lock("local-only\n")
    assert bench.versions(lock)["local-only"] == "1.0"
    assert (bench.install(lock) / "bin" / "python").exists()


def test_packages_that_are_too_new_are_left_out(bench: Bench):
    bench.index.wheel("chairs", "3.0", uploaded="2026-01-01T00:00:00Z")
    bench.allow(exclude_newer="2025-01-01T00:00:00Z")
    assert bench.versions(bench.lock("chairs\n"))["chairs"] == "2.1"


def test_an_interpreter_of_another_version_gets_its_own_wheels(bench: Bench, another):
    for each in (bench.interpreter, another):
        minor = each.version.split(".")[1]
        bench.index.wheel("native", "1.0", tag=f"cp3{minor}-cp3{minor}-manylinux_2_17_x86_64")
    for interpreter in (another, bench.interpreter):
        bench.interpreter = interpreter
        tags = {each.name: each.filename for each in bench.artefacts(bench.lock("native\n"))}
        assert f"cp{''.join(interpreter.version.split('.')[:2])}-" in tags["native"]


def test_what_we_select_is_what_uv_selects(bench: Bench):
    for system in ("win_amd64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64"):
        bench.index.wheel("native", "1.0", tag=f"py3-none-{system}")
    bench.write(
        {"pyproject.toml": PROJECT.replace('"tables"', '"native", "tables; os_name == \'nt\'"')}
    )
    bench.index.wheel("forks")
    lock = bench.lock()
    target = bench.directory / "pylock.toml"
    target.write_bytes(lock.content)
    done = subprocess.run(
        [
            *(bench.uv.program, "pip", "sync", "--dry-run", "--no-config", "--verbose"),
            *("--preview-features", "pylock", "--target", bench.directory / "target", target),
        ],
        env={**bench.rules.variables, "UV_CACHE_DIR": str(bench.cache)},
        capture_output=True,
        text=True,
    )
    chosen = set(re.findall(r"^ \+ (\S+)==(\S+)$", done.stderr, re.MULTILINE))
    assert chosen == set(bench.versions(lock).items()), done.stderr
