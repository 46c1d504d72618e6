"""The reference, and the front end's types, say what the code does now."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from docs import generate

PROJECT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("page", generate.PAGES)
def test_a_reference_page_is_current(page: str):
    written = (generate.REFERENCE / page).read_text(encoding="utf-8")

    assert generate.PAGES[page]() == written, "Write it anew: python docs/generate.py"


@pytest.mark.parametrize(
    ("document", "types"),
    [
        ("openapi.json", "schema.ts"),
        ("environments-openapi.json", "environments-schema.ts"),
        ("resources-openapi.json", "resources-schema.ts"),
    ],
)
def test_the_front_end_s_types_follow_the_rest_interface(document: str, types: str, tmp_path: Path):
    node = shutil.which("node")
    generator = PROJECT / "node_modules" / "openapi-typescript" / "bin" / "cli.js"
    if node is None or not generator.exists():
        pytest.skip("the front end's tools are not installed; `make test` does that")
    made = tmp_path / "schema.ts"

    subprocess.run(
        [
            *(node, str(generator), str(generate.REFERENCE / document)),
            *("--default-non-nullable", "false", "-o", str(made)),
        ],
        check=True,
        capture_output=True,
        cwd=PROJECT,
    )

    schema = PROJECT / "labextension" / "src" / "api" / types
    assert made.read_text() == schema.read_text(), "Write them anew: jlpm generate"


def test_every_link_between_the_pages_leads_somewhere():
    broken = []
    for page in [*PROJECT.glob("*.md"), *PROJECT.glob("d*/**/*.md")]:
        text = page.read_text(encoding="utf-8")
        for target in generate.links(text):
            file = (page.parent / target.partition("#")[0]) if target[0] != "#" else page
            if not file.exists():
                broken.append(f"{page.relative_to(PROJECT)}: {target}")
    assert broken == []
