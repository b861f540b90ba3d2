"""What the installed Ray has of what it does not promise to keep, and what happens without it."""

import os

import pytest
import ray.train.torch

from study.lanes import ray_internals


def test_this_ray_has_all_of_it() -> None:
    assert ray_internals.lacking() == []


def test_what_a_ray_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for base in ray.train.torch.TorchTrainer.__mro__:
        if "_initialize_and_run_controller" in vars(base):
            monkeypatch.delattr(base, "_initialize_and_run_controller")
    assert ray_internals.lacking() == ["the parts of a trainer"]
    assert ray_internals.trainer() is ray.train.torch.TorchTrainer, "Ray's own, which needs two processes more"


def test_without_the_list_of_draining_nodes_no_node_drains(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise AttributeError("get_draining_nodes")

    monkeypatch.setattr(ray_internals, "_draining", missing)
    assert ray_internals.draining_nodes() == set()


def test_a_variable_that_is_set_keeps_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "2"}
    monkeypatch.setattr(os, "environ", found)
    ray_internals.prepare_process(MALLOC_ARENA_MAX="1")
    assert found["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "2"
    assert found["RAY_USAGE_STATS_ENABLED"] == "0" and found["MALLOC_ARENA_MAX"] == "1"
