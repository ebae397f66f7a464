"""The workers of a run on a Ray cluster: started, asked, lost. The only module that knows Ray.

Why one actor per node and not per core: the model is in memory once, its batches form over all calls of the node, and
CTranslate2 uses every core by itself. A GPU gets an actor of its own, because one process keeps it busy.

Of Ray nothing is used but actors, pinned to their node, without restarts and retries: what was tried how often is known
in one place, ``schedule``. An actor that dies, its node with it or not, is one answer that is an error.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analyzer.cluster.worker import Assignment, News, Order, Worker
from analyzer.errors import AnalyzerError, ConfigError, ModelError
from analyzer.language import either

LOOK_EVERY_S = 2.0  # at the nodes, for one that came or lost its worker
START_S = 600.0  # for all workers to load the model before the run begins
STALLED_S = 3600.0  # with calls in hand, but nothing listened to and no result: taken for dead
STARTS = 3  # workers in a row that die before they are ready: their place is set aside
KNOCK_S = 10.0  # for the cluster's head to answer at all
WAIT_FOR_NODE_S = 300.0  # while no node can work
_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}  # as in analyzer.cli


@dataclass(frozen=True, slots=True)
class Post:
    """Where a worker works: a node's cores, or one of its GPUs with its share of the cores."""

    node_id: str
    host: str
    cores: int
    gpu: int | None = None

    def __str__(self) -> str:
        node = f"{self.host} ({self.node_id[:6]})"
        return node if self.gpu is None else f"{node}, GPU {self.gpu}"


@dataclass(eq=False, slots=True)
class Hand:
    """A worker as the driver holds it.

    answer       what it was asked last and has not answered
    wanted       calls it has room for
    progress_at  monotonic time of its last lot, result or listened second
    """

    post: Post
    actor: Any
    answer: Any
    is_ready: bool = False
    wanted: int = 0
    progress_at: float = 0.0


def posts_of(nodes: Sequence[Mapping[str, Any]], *, on_gpus: bool) -> Iterator[Post]:
    """Where workers can work. nodes: as ``ray.nodes()`` tells them; on_gpus: one post per GPU instead of per node"""
    for node in nodes:
        resources = node["Resources"]
        cores, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if not node["Alive"] or cores < 1 or (on_gpus and not gpus):
            continue
        host = node["NodeManagerHostname"]
        if on_gpus:
            yield from (Post(node["NodeID"], host, max(1, cores // gpus), gpu) for gpu in range(gpus))
        else:
            yield Post(node["NodeID"], host, cores)


class Crew:
    """One worker on each post while there are nodes. See ``score_on_ray`` for the arguments and errors."""

    def __init__(
        self, address: str, order: Order, *, device: str, most: int | None, tell: Callable[[str], None]
    ) -> None:
        self._ray = _connect(address)
        self._order = order
        self._shared_order = self._ray.put(order)
        self._most = most
        self._tell = tell
        self._hands: list[Hand] = []
        self._failed_starts: dict[Post, int] = {}
        self._looked_at = -LOOK_EVERY_S
        self._worked_at = time.monotonic()
        self.info: Mapping[str, Any] = {}
        try:
            self._on_gpus = device != "cpu" and any(posts_of(self._ray.nodes(), on_gpus=True))
            if device == "cuda" and not self._on_gpus:
                raise ConfigError("--device cuda: no node of the cluster has a GPU; start Ray there with --num-gpus")
            self._begin()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End every worker and leave the cluster."""
        for hand in self._hands:
            self._ray.kill(hand.actor)
        self._ray.shutdown()

    @property
    def idle(self) -> list[Hand]:
        """Workers that are ready and wait to be asked."""
        return [hand for hand in self._hands if hand.is_ready and hand.answer is None]

    @property
    def size(self) -> int:
        return max(1, len(self._hands))

    def look(self) -> None:
        """Start a worker on every post that has none. raises ConfigError if no node has been able to work for long"""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        taken = {hand.post for hand in self._hands}
        for post in posts_of(self._ray.nodes(), on_gpus=self._on_gpus):
            full = self._most is not None and len(self._hands) >= self._most
            if post not in taken and not full and self._failed_starts.get(post, 0) < STARTS:
                self._hands.append(self._start(post))
        if self._hands:
            self._worked_at = now
        elif now - self._worked_at > WAIT_FOR_NODE_S:
            raise ConfigError("no node of the cluster can work any more; start nodes and give the same command again")

    def ask(self, hand: Hand, lot: Sequence[Assignment], *, has_more: bool) -> None:
        """Hand over a lot and ask for news; the answer comes from ``answers``."""
        if lot:
            hand.progress_at = time.monotonic()
        hand.answer = hand.actor.exchange.remote(lot, has_more=has_more)

    def answers(self) -> Iterator[tuple[Hand, News | Exception]]:
        """What workers have answered since, waiting a little for it. An exception: that worker is no more.

        An AnalyzerError says that its node cannot do the work; any other error is the death of the process.
        """
        for hand in self._answered():
            answer, hand.answer = hand.answer, None
            try:
                told = self._ray.get(answer)
            except self._ray.exceptions.RayError as error:
                yield hand, self._lose(hand, error)
                continue
            if isinstance(told, News):
                hand.wanted = told.wanted
                if told.results or told.audio_ms:
                    hand.progress_at = time.monotonic()
                yield hand, told
            elif fault := self._welcome(hand, told):
                yield hand, self._lose(hand, fault)
        for hand in [hand for hand in self._hands if self._is_stalled(hand)]:
            yield hand, self._lose(hand, TimeoutError(f"nothing heard and no result for {STALLED_S:.0f} s"))

    # ---- coming and going

    def _begin(self) -> None:
        """Wait until every post has its worker or has failed. raises the first AnalyzerError of any of them"""
        deadline = time.monotonic() + START_S
        while not self._hands or any(not hand.is_ready for hand in self._hands):
            self.look()
            for _, answer in self.answers():
                if isinstance(answer, AnalyzerError):
                    raise answer
            if not self._hands and self._failed_starts:
                raise ConfigError("no worker could be started on any node; see above")
            if time.monotonic() > deadline:
                break  # who comes later joins in
        if not self.idle:
            raise ConfigError(f"no worker was ready after {START_S:.0f} s; is the cluster busy? `ray status` tells")

    def _start(self, post: Post) -> Hand:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415

        actor = (
            self._ray.remote(Worker)
            .options(
                num_cpus=post.cores,
                num_gpus=0 if post.gpu is None else 1,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(post.node_id, soft=False),
                runtime_env={"env_vars": _ENVIRONMENT},
            )
            .remote()
        )
        answer = actor.prepare.remote(self._shared_order, post.cores)
        return Hand(post, actor, answer, progress_at=time.monotonic())

    def _welcome(self, hand: Hand, info: Mapping[str, Any]) -> ModelError | None:
        """A worker has loaded its model; the fault, if it is not the one that others have."""
        if not self.info:
            self.info = info
        if info != self.info:
            differing = sorted(name for name in info.keys() | self.info.keys() if info.get(name) != self.info.get(name))
            here, others = ({name: one.get(name) for name in differing} for one in (info, self.info))
            return ModelError(
                f"node {hand.post}: its model differs: {here} here, {others} on other nodes; "
                "put the same model folder on every node (`analyzer model info NAME` shows its digest)"
            )
        self._failed_starts.pop(hand.post, None)
        hand.is_ready = True
        hand.wanted = 2 * (self._order.jobs or hand.post.cores)
        return None

    def _lose(self, hand: Hand, error: Exception) -> Exception:
        """Take a worker from the crew. Returns what it died of."""
        self._hands.remove(hand)
        self._ray.kill(hand.actor)
        cause = getattr(error, "cause", error)
        if isinstance(cause, AnalyzerError):
            self._failed_starts[hand.post] = STARTS
            text = str(cause) if str(hand.post) in str(cause) else f"node {hand.post}: {cause}"
            fault: Exception = type(cause)(text)
        else:
            fault = RuntimeError(f"node {hand.post}: worker lost ({type(error).__name__})")
            if not hand.is_ready:
                self._failed_starts[hand.post] = self._failed_starts.get(hand.post, 0) + 1
        self._tell(str(fault))
        return fault

    def _answered(self) -> list[Hand]:
        asked = {hand.answer: hand for hand in self._hands if hand.answer is not None}
        if not asked:
            time.sleep(LOOK_EVERY_S / 10)
            return []
        ready, _ = self._ray.wait(list(asked), timeout=LOOK_EVERY_S)
        if ready:  # one is there: take with it whatever else is
            ready, _ = self._ray.wait(list(asked), num_returns=len(asked), timeout=0)
        return [asked[answer] for answer in ready]

    def _is_stalled(self, hand: Hand) -> bool:
        return hand.is_ready and hand.answer is not None and time.monotonic() - hand.progress_at > STALLED_S


def _connect(address: str) -> Any:
    """The ray module, connected. Nothing is reported to anybody and no dashboard is started."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when ray is imported
    try:
        import ray  # noqa: PLC0415 - an extra
    except ImportError:
        cure = either(
            "install it on every node: pip install '.[ray]' in the checkout",
            "每个节点都要安装：pip install '.[ray]'（在源码目录）",
        )
        raise ConfigError(f"--engine ray: Ray is not installed; {cure}") from None
    import ray.exceptions  # noqa: PLC0415

    try:
        _knock(address)
        own: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (OSError, ValueError, RuntimeError) as error:
        raise ConfigError(
            f"--address {address}: no Ray cluster answers ({error}); "
            "start one with `ray start --head`, see docs/cluster.md"
        ) from None
    # Whatever log_to_driver says, Ray prints a dead node's log to standard output, where nothing but reports may go.
    ray._private.worker._worker_logs_enabled = False
    return ray


def _knock(address: str) -> None:
    """Ray itself tries for minutes. raises OSError if nobody listens there"""
    if place := re.fullmatch(r"(?:ray://)?(.+):(\d+)", address):
        socket.create_connection((place[1].strip("[]"), int(place[2])), KNOCK_S).close()
