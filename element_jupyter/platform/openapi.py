"""`python -m element_jupyter.platform.openapi`: print the OpenAPI document of the control plane."""

from __future__ import annotations

import json
import sys

from element_jupyter.service.app import openapi_document


def main() -> None:
    """Print it as it is committed: `docs/reference/openapi.json`."""
    sys.stdout.write(json.dumps(openapi_document(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
