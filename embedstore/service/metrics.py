"""Counts and durations for Prometheus."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from embedstore.service.jobs import JobManager
    from embedstore.service.limits import Limits

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """What `/metrics` shows; a registry of its own for each application."""

    def __init__(self, limits: "Limits", jobs: "JobManager"):
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "embedstore_requests", "Requests by route, method and status", ["route", "method", "status"],
            registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "embedstore_request_seconds", "Time to the end of an answer", ["route"], buckets=SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.registry.register(_WorkCollector(limits, jobs))

    def text(self) -> bytes:
        """In the text format of Prometheus."""
        return generate_latest(self.registry)


class _WorkCollector(Collector):
    """How many calls of each kind of work run, and wait; and how many jobs do."""

    def __init__(self, limits: "Limits", jobs: "JobManager"):
        self._limits, self._jobs = limits, jobs

    def collect(self) -> Iterable[Metric]:
        running = GaugeMetricFamily("embedstore_running", "Calls that run", labels=["work"])
        waiting = GaugeMetricFamily("embedstore_waiting", "Calls that wait for their turn", labels=["work"])
        for name, limiter in self._limits.all().items():
            held = limiter.statistics()
            running.add_metric([name], held.borrowed_tokens)
            waiting.add_metric([name], held.tasks_waiting)
        jobs = GaugeMetricFamily("embedstore_jobs", "Jobs of this server that run, and wait", labels=["state"])
        for state, count in self._jobs.counts().items():
            jobs.add_metric([state], count)
        yield from (running, waiting, jobs)


class CountedRequests:
    """Middleware: counts requests by their route, not by their path, which may name a slide."""

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, scope["method"], status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - began)
