"""What the server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


class Metrics:
    """The figures of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._of_routes: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._requests = Counter(
            "dpipe_http_requests", "Requests", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "dpipe_http_request_seconds", "Time of a request", ["route"], registry=registry
        )
        self._batches = Counter(
            "dpipe_received_batches", "Submissions that are durable", ["dataset"], registry=registry
        )
        self._bytes = Counter("dpipe_received_bytes", "Their bytes", ["dataset"], registry=registry)
        self._backlog = Gauge(
            "dpipe_backlog_batches", "Batches that wait to be processed", ["dataset"], registry=registry
        )
        self._free = Gauge("dpipe_disk_free_bytes", "Room where batches land", registry=registry)

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        named = (method, route, status)
        if named not in self._of_routes:  # to look a series up by its labels takes longer than to count
            self._of_routes[named] = (
                self._requests.labels(method, route, str(status)),
                self._seconds.labels(route),
            )
        counter, histogram = self._of_routes[named]
        counter.inc()
        histogram.observe(seconds)

    def landed(self, dataset: str, size: int) -> None:
        """Count a submission of so many bytes that is durable."""
        self._batches.labels(dataset).inc()
        self._bytes.labels(dataset).inc(size)

    def load(self, backlog: dict[str, int], free_bytes: int) -> None:
        """Note how many batches of each dataset wait, and the room that is left."""
        for dataset, batches in backlog.items():
            self._backlog.labels(dataset).set(batches)
        self._free.set(free_bytes)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
