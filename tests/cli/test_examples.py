"""What is shown to somebody new works, with nothing but the default environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DIGITS = Path(__file__).parents[2] / "examples" / "digits"


@pytest.mark.timeout(600)
def test_the_notebook_of_the_demo_runs(tmp_path: Path):
    project = shutil.copytree(DIGITS, tmp_path / "digits")

    ended = subprocess.run(
        [sys.executable, "-m", "element_jupyter.cli", "run", project / "train.ipynb"],
        env=os.environ | {"ELEMENT_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
