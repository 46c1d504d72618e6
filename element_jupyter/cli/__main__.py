"""`python -m element_jupyter.cli`, for where the `element` script is not on PATH."""

from __future__ import annotations

import sys

from element_jupyter.cli.main import main

sys.exit(main())
