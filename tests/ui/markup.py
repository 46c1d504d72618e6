"""Markup that would do something if it were not shown as text: it would set `window.ran`."""

from __future__ import annotations

MARKUP = [
    "<img src=x onerror=window.ran=1>",
    "<svg onload=window.ran=1>",
    "<svg><script>window.ran=1</script></svg>",
    "<iframe srcdoc='<script>parent.ran=1</script>'></iframe>",
    "<a href='javascript:window.ran=1'>click</a>",
    "<details open ontoggle=window.ran=1>",
    "<style onload=window.ran=1></style>",
    '"><script>window.ran=1</script>',
    "'-window.ran=1-'",
    "[click](javascript:window.ran=1)",
    "${window.ran=1}",
    "{{constructor.constructor('window.ran=1')()}}",
]
