"""What Prometheus is told of requests."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Histogram

REQUESTS: Final = Counter(
    "element_requests", "Requests answered, by route.", ["method", "path", "status"]
)
REQUEST_SECONDS: Final = Histogram(
    "element_request_seconds",
    "How long answers took; streams and long polls count until they end.",
    ["method", "path"],
    buckets=(0.005, 0.025, 0.1, 0.5, 2.5, 10, 60),
)


def observe(method: str, path: str, status: int, seconds: float) -> None:
    """Count a request; `path` is a route's template, so that names make no new series."""
    REQUESTS.labels(method, path, str(status)).inc()
    REQUEST_SECONDS.labels(method, path).observe(seconds)
