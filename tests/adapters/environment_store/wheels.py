"""Small wheels, made here, that uv installs like any other; and how environments are made of them.

The `ipykernel` among them is none, but has the module by which the store knows one.
"""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import uv

from element_jupyter.adapters.environment_store import EnvironmentStore
from element_jupyter.core.environments.identity import Artefact, Backend, lock_id
from element_jupyter.core.environments.keeping import Manifest

LOCK = b'lock-version = "1.0"\n'
PACKAGES = "lib/python{}.{}/site-packages".format(*sys.version_info)
PYTHON = Path(sys.base_prefix) / "bin/python3"

WHEELS: Mapping[str, Mapping[str, str]] = {
    "ipykernel-7.0": {
        "ipykernel_launcher.py": "print('a kernel')\n",
        **{f"ipykernel/part{i}.py": f"def part():\n    return {i}\n" for i in range(10)},
        "ipykernel/__init__.py": "",
    },
    "greet-1.2": {
        "greet/__init__.py": "from greet.words import HELLO\n\n\ndef hello():\n    return HELLO\n",
        "greet/words.py": "HELLO = 'hello'\n",
        "greet/fails.py": "def fail():\n    raise ValueError('on purpose')\n",
        "greet/for_another_python.py": "print 'hello'\n",
        "greet/large.txt": "x" * 300_000,
    },
}


def make_wheels(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for wheel, files in WHEELS.items():
        name, _, version = wheel.partition("-")
        info = f"{name}-{version}.dist-info"
        every = {
            **files,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nA test.\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: us\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(
            f"{path},sha256={_encoded(text)},{len(text)}\n" for path, text in every.items()
        )
        with zipfile.ZipFile(directory / f"{wheel}-py3-none-any.whl", "w") as archive:
            for path, text in every.items():
                archive.writestr(path, text)
            archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return directory


def _encoded(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def environment_id(number: int = 1) -> str:
    return f"py-{number:032x}"


def a_manifest(number: int = 1, **changed) -> Manifest:
    return Manifest(
        **{
            "environment_id": environment_id(number),
            "backend": Backend.UV,
            "lock_id": lock_id(LOCK),
            "definition": "requirements.txt",
            "python": "{}.{}.{}".format(*sys.version_info),
            "platform": "linux",
            "packages": tuple(
                Artefact(name=name, version=version, sha256="0" * 64)
                for name, _, version in (each.partition("-") for each in WHEELS)
            ),
            "built_at": datetime.now(UTC),
            "build_seconds": 0.1,
        }
        | changed
    )


def import_as_root(path: Path) -> None:
    """Import a package as a user whom nothing keeps from writing byte-code beside it."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    subprocess.run([path / "bin/python", "-c", "import greet"], check=True, env=environment)


class Maker:
    """Builds environments of the wheels in a store, as uv does."""

    def __init__(self, store: EnvironmentStore, wheels: Path) -> None:
        self.store = store
        self.wheels = wheels
        self.installed = 0

    def install(self, prefix: Path, final: Path) -> None:
        self.installed += 1
        self._uv("venv", "--relocatable", "--no-project", "--python", PYTHON, prefix)
        named = [
            "--no-index",
            "--find-links",
            self.wheels,
            *(each.replace("-", "==") for each in WHEELS),
        ]
        self._uv("pip", "install", "--python", prefix / "bin/python", *named)

    def check(self, prefix: Path) -> None:
        subprocess.run([prefix / "bin/python", "-I", "-c", "import greet"], check=True)

    def publish(self, number: int = 1) -> Path:
        return self.store.publish(a_manifest(number), LOCK, self.install, self.check)

    def _uv(self, *arguments: object) -> None:
        subprocess.run(
            [uv.find_uv_bin(), "--quiet", "--no-config", *map(str, arguments)],
            check=True,
            env={
                "PATH": os.environ["PATH"],
                "UV_CACHE_DIR": str(self.store.layout.uv_cache),
                "UV_LINK_MODE": "hardlink",
                "UV_PYTHON_DOWNLOADS": "never",
            },
        )
