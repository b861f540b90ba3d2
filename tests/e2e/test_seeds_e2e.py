"""Finalists trained again with other seeds, as a user asks for it, and killed while they are."""

import json
from typing import Any

import pandas as pd
import pytest
from test_study_e2e import NEVER_STOPPED, ONE_MODEL, SMALL, wait_for

from analysis import load
from analysis.finalists.sealed import ensembles
from study.store import Store
from study.store.records import Record, State, read_records

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SEEDED = (*SMALL, *ONE_MODEL, *NEVER_STOPPED, "--trials", 2, "--epochs", 2, "--set", "finalists.top=1")


def again(records: list[Record]) -> list[Record]:
    return [record for record in records if record.replicate_of is not None]


def test_a_study_killed_among_its_replicates_trains_each_of_them_once(shell: Any) -> None:
    store = Store(str(shell.storage / "seeded"))

    def records() -> list[Record]:
        return read_records(store) if store.exists("study.json") else []

    process = shell.start_study(*SEEDED, "--name", "seeded", "--finalist-seeds", 3)
    wait_for(lambda: any(record.epochs for record in again(records())), process)
    process.kill()
    process.wait()
    first = again(records())[0]
    lanes = {record.extra["lane"] for record in records() if record.epochs}
    assert len(lanes) == 1, "replicates flow through the lane of the search, which is warm"

    out = shell.study("phantom", "--no-report", "--name", "seeded", "--resume")
    assert "4/4 trials" in out and "(mean ± deviation): val_iou" in out
    found = records()
    best = max(found[:2], key=lambda record: record.best["val_iou"])
    assert [(r.trial, r.replicate_of, r.experiment["seed"], r.source) for r in again(found)] == [
        (100_000 + best.trial, best.trial, 100_000, "replicate"),
        (200_000 + best.trial, best.trial, 200_000, "replicate"),
    ]
    assert first.trial == found[2].trial and found[2].id == first.id and found[2].started == first.started
    for record in again(found):
        assert record.state is State.COMPLETE and [row["epoch"] for row in record.epochs] == [1, 2]
        assert record.experiment | {"seed": 0} == best.experiment
        assert record.test is not None and record.latency_ms is not None
    assert len({record.best["val_iou"] for record in (best, *again(found))}) == 3, "a seed changes something"
    assert "MATCHED" in shell.run("study.replay", store.uri, found[3].trial)

    gallery, duel = load.gallery(store.uri), load.duel(store.uri)
    assert gallery[0] == best.trial and duel == (None, []), "one finalist alone has no rival"
    said = json.loads(shell.run("analysis.finalists", store.uri, "--format", "json"))
    assert [(row["trial"], row["seeds"]) for row in said] == [(best.trial, 3)]
    check_ensembles(shell, store, best.trial)


def check_ensembles(shell: Any, store: Store, trial: int) -> None:
    """Of one finalist alone the counts are those that it was scored with."""
    assert f"{trial}: iou 0." in shell.run("study.ensemble", store.uri, "--trials", trial)
    (alone,) = ensembles(store.uri)
    scored = load.counts(store.uri, trial, "test")
    assert scored is not None
    pd.testing.assert_frame_equal(alone.counts, scored[scored["size"] == "native"].reset_index(drop=True))
    record, told = read_records(store)[trial], store.read_json(f"ensembles/{trial}.json")
    assert record.test is not None and told["test"]["native_iou"] == record.test["native_iou"]

    all_of_them = f"{trial}+{100_000 + trial}+{200_000 + trial} flips"
    assert f"{all_of_them}: iou 0." in shell.run("study.ensemble", store.uri, "--flips")
    said = json.loads(shell.run("analysis.finalists", store.uri, "--format", "json"))
    assert {(row["trial"], row["source"]) for row in said} >= {(all_of_them, "ensemble"), (str(trial), "ensemble")}
    assert "is no finalist; choose from" in shell.run("study.ensemble", store.uri, "--trials", 99, status=2)


def test_a_study_that_has_ended_is_given_seeds_later(shell: Any) -> None:
    store = Store(str(shell.storage / "later"))
    shell.study(*SEEDED, "--name", "later")
    before = {record.trial: record.best for record in read_records(store)}
    shell.study("phantom", "--no-report", "--name", "later", "--resume", "--finalist-seeds", 2)
    found = read_records(store)
    assert {record.trial: record.best for record in found[:2]} == before
    assert [record.experiment["seed"] for record in again(found)] == [100_000] and found[2].test is not None
    assert store.read_json("study.json")["spec"]["finalists"] == {"top": 1, "seeds": 2}
