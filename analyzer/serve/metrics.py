"""What Prometheus reads. Of this process; counted from its start.

The scheduler tells of batches and stages (``analyzer.live.scheduler.Meter``); what other parts count anyway is read off
them when asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from analyzer.live.agenda import Kind
from analyzer.live.scheduler import Stage

if TYPE_CHECKING:
    from analyzer.live.hub import Hub

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16)


class Metrics:
    """Safe to call from any thread. The ``Scheduler``'s meter; tell it the hub once there is one."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._wait = Histogram(
            "analyzer_queue_wait_seconds", "Time a window waited for the recogniser", ["kind"],
            buckets=_SECONDS, registry=registry)  # fmt: skip
        self._took = Histogram(
            "analyzer_batch_seconds", "Time the recogniser took for a batch", ["kind"],
            buckets=_SECONDS, registry=registry)  # fmt: skip
        self._size = Histogram(
            "analyzer_batch_size", "Windows recognised together", ["kind"], buckets=_SIZES, registry=registry
        )
        self._stage = Histogram(
            "analyzer_stage_seconds", "Latency per stage; end_to_final is from end of speech to final text", ["stage"],
            buckets=_SECONDS, registry=registry)  # fmt: skip
        self.refused = Counter("analyzer_refused", "Connections and requests refused", ["code"], registry=registry)
        self.ended = Counter("analyzer_calls_ended", "Calls that are over", ["state"], registry=registry)
        self.lost = Counter("analyzer_packets_lost", "Packets that found no place, by reason", ["reason"],
                            registry=registry)  # fmt: skip
        self.event_clients = Gauge("analyzer_event_clients", "Open event streams", registry=registry)
        self.senders = Gauge("analyzer_senders", "Open connections that send audio", registry=registry)
        self.whispers = Counter("analyzer_whispers", "Supervisors' lines", ["state"], registry=registry)
        ProcessCollector(registry=registry)

    def watch(self, hub: Hub) -> None:
        """Read off this hub from now on."""
        self.registry.register(_Readings(hub))

    def batch(self, kind: Kind, size: int, waited_s: Sequence[float], took_s: float) -> None:
        self._took.labels(kind.value).observe(took_s)
        self._size.labels(kind.value).observe(size)
        for waited in waited_s:
            self._wait.labels(kind.value).observe(max(0.0, waited))

    def stage(self, stage: Stage, took_s: float) -> None:
        self._stage.labels(stage).observe(took_s)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Readings(Collector):
    """Values that others keep."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        hub = self._hub
        stats = hub.scheduler.stats()
        yield GaugeMetricFamily("analyzer_calls_live", "Calls that are not over", value=len(hub.live))
        recovered = CounterMetricFamily("analyzer_calls_recovered", "Calls an earlier process left behind")
        recovered.add_metric([], len(hub.recovered))
        yield recovered
        waiting = GaugeMetricFamily("analyzer_waiting", "Windows that wait for the recogniser", labels=["kind"])
        for kind, count in stats["waiting"].items():
            waiting.add_metric([kind], count)
        yield waiting
        work = CounterMetricFamily("analyzer_recognised", "Windows recognised", labels=["kind"])
        for kind in ("finals", "ahead", "foreseen", "partials", "early"):
            work.add_metric([kind], stats[kind])
        yield work
        shed = CounterMetricFamily("analyzer_partials_shed", "Interim work dropped, out of date or for lack of time")
        shed.add_metric([], stats["shed"])
        yield shed
        yield from self._engine()

    def _engine(self) -> Iterator[Metric]:
        spent_s = getattr(self._hub.scheduler.recogniser, "spent_s", {})
        family = CounterMetricFamily(
            "analyzer_engine_seconds", "Seconds the model spent, added up over threads", labels=["step"]
        )
        for step, seconds in spent_s.items():
            family.add_metric([step], seconds)
        yield family
