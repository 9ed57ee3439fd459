"""Prometheus metrics of the API. Labels are bounded: routes, statuses, bands; never a path or an id."""

from __future__ import annotations

from typing import Any, Protocol

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metric(Protocol):
    """A Prometheus counter or histogram."""

    def labels(self, *values: str) -> Any: ...


class MetricsFactory(Protocol):
    """Makes metrics: ``prometheus_client`` itself, or its classes bound to another registry.

    Where several processes serve, ``PROMETHEUS_MULTIPROC_DIR`` must be set before ``prometheus_client`` is
    first imported, so that the page of any of them sums all.
    """

    def Counter(self, name: str, documentation: str, labelnames: tuple[str, ...]) -> Metric: ...
    def Histogram(
        self, name: str, documentation: str, labelnames: tuple[str, ...], *, buckets: tuple[float, ...]
    ) -> Metric: ...


class ServingMetrics:
    """What the service counts: requests, latency, predictions."""

    def __init__(self, factory: MetricsFactory) -> None:
        self._requests = factory.Counter(
            "churn_requests", "HTTP requests by route and status.", ("route", "method", "status")
        )
        self._latency = factory.Histogram(
            "churn_request_seconds",
            "Seconds from the first byte of a request to the last of its answer.",
            ("route",),
            buckets=LATENCY_BUCKETS,
        )
        self._predictions = factory.Counter(
            "churn_predictions", "Predictions answered.", ("variant", "model_version", "risk_band")
        )
        # prometheus_client looks a child up under a lock; keeping the few children makes an observation
        # cheaper.
        self._children: dict[tuple[str, ...], Any] = {}

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self._child(self._requests, "requests", route, method, str(status)).inc()
        self._child(self._latency, "latency", route).observe(seconds)

    def prediction(self, variant: str, model_version: str, band: str) -> None:
        """Count one prediction."""
        self._child(self._predictions, "predictions", variant, model_version, band).inc()

    def _child(self, metric: Metric, *key: str) -> Any:
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*key[1:])
        return child
