"""NVIDIA's library, played at its boundary: a shared object that says what a file says."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")


@dataclass(frozen=True)
class FakeNvml:
    """A directory with `libnvidia-ml.so.1`, and the file that says what the devices do."""

    directory: Path

    @property
    def said(self) -> Path:
        return self.directory / "nvml.txt"

    @property
    def variables(self) -> dict[str, str]:
        """What a process must have from its start on to find it in place of the real one."""
        return {"LD_LIBRARY_PATH": str(self.directory), "ELEMENT_FAKE_NVML": str(self.said)}

    def say(self, *lines: str) -> None:
        """Let the library say this from now on; see nvml.c for what a line may be."""
        new = self.said.with_suffix(".new")
        new.write_text("".join(f"{line}\n" for line in lines))
        new.replace(self.said)

    def calls(self) -> list[str]:
        """The functions that were called, in order."""
        file = self.said.with_name(f"{self.said.name}.calls")
        return file.read_text().split() if file.exists() else []


def fake_nvml(directory: Path) -> FakeNvml:
    """Compile it into a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    library = directory / "libnvidia-ml.so.1"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE], check=True)
    fake = FakeNvml(directory)
    fake.say()
    return fake
