"""What the service tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from bilayer.export.serve.cache import Cache
from bilayer.export.serve.workers import WorkerPool

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Numbers:
    """Counts of one service, in a registry of their own."""

    def __init__(self, workers: WorkerPool, cache: Cache) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "bilayer_requests", "Photos sent, by what became of them", ["result"], registry=self._registry
        )
        self._stages = Histogram(
            "bilayer_stage_seconds",
            "Seconds of an avatar's stages",
            ["stage"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        for name, help, value in (
            ("bilayer_waiting", "Avatars in work, or waiting for it", lambda: workers.waiting),
            ("bilayer_worker_restarts", "Processes killed or lost", lambda: workers.restarts),
            ("bilayer_cache_bytes", "Bytes of avatars kept", lambda: cache.size),
            ("bilayer_ready", "1 where photos are taken", lambda: workers.ready),
        ):
            Gauge(name, help, registry=self._registry).set_function(value)

    def count(self, result: str) -> None:
        """Count a request: made, cached, or the word of its error."""
        self._requests.labels(result).inc()

    def time(self, seconds: dict[str, float]) -> None:
        """Note how long each stage of an avatar took."""
        for stage, taken in seconds.items():
            self._stages.labels(stage).observe(taken)

    def text(self) -> bytes:
        """Return all the numbers, in Prometheus's format."""
        return generate_latest(self._registry)
