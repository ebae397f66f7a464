"""Where workers are placed, and what is said without Ray. The rest needs a cluster: test_cluster_ray."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from analyzer.cluster import Order, RayCluster
from analyzer.cluster.crew import posts_of
from analyzer.errors import ConfigError
from tests.fake_node import load_fake


def node(number: int, *, alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"NodeID": f"{number}" * 56, "NodeManagerHostname": f"host{number}", "Alive": alive, "Resources": resources}


NODES = [node(1), node(2, CPU=16.0), node(3, CPU=32.0, GPU=2.0), node(4, alive=False, CPU=8.0)]


def test_one_worker_per_node_gets_all_its_cores_and_a_head_without_cores_none() -> None:
    assert [(str(post), post.cores) for post in posts_of(NODES, on_gpus=False)] == [
        ("host2 (222222)", 16),
        ("host3 (333333)", 32),
    ]


def test_on_gpus_one_worker_per_gpu_gets_its_share_of_the_cores() -> None:
    assert [(str(post), post.cores) for post in posts_of(NODES, on_gpus=True)] == [
        ("host3 (333333), GPU 0", 16),
        ("host3 (333333), GPU 1", 16),
    ]


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("ANALYZER_LANG", "en")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "")  # which connecting sets: put back afterwards
    with pytest.raises(
        ConfigError, match=r"Ray is not installed; install it on every node: pip install '\.\[ray\]' in the checkout"
    ):
        RayCluster("auto", Order(load_fake, {}, "sha256:p", "standard"))
