"""Records come back as they went, and are read whatever else lies beside them."""

import dataclasses
import json
import uuid

import pytest

from study.store import Store
from study.store.old_formats import FIRST_NAMES
from study.store.records import (
    FORMAT,
    FormatError,
    Record,
    State,
    encode_record,
    read_record,
    read_records,
    record_name,
    write_record,
)


@pytest.fixture
def store() -> Store:
    return Store(f"memory://{uuid.uuid4().hex}")


def full_record() -> Record:
    """A record in which no field is at its default."""
    return Record(
        trial=3,
        id="0a1b2c3d",
        state=State.COMPLETE,
        source="R1 model 1",
        experiment={"model": "unet", "loss_parameters": {"dice_weight": 0.1}, "encoder_lr": None, "precision": "auto"},
        replicate_of=1,
        reason="none",
        traceback="line 1\nline 2",
        started="2026-01-01T00:00:00+00:00",
        finished="2026-01-01T00:10:00+00:00",
        epochs=[{"epoch": 1, "val_iou": 0.1 + 0.2, "seconds": 2.0}, {"epoch": 2, "val_iou": 0.2, "seconds": 1.5}],
        best_epoch=1,
        workers=2,
        gpus=0.5,
        threads=4,
        device="cpu",
        params_trainable=7,
        params_frozen=11,
        latency_ms=4.5,
        test={"iou": 0.8, "native_iou": 0.79},
        extra={"test_scored": "2026-01-01T00:11:00+00:00"},
    )


def test_round_trip_loses_nothing(store: Store) -> None:
    record = full_record()
    defaults = {f.name for f in dataclasses.fields(Record) if getattr(record, f.name) == f.default}
    assert defaults == {"format"}
    write_record(store, record)
    again = read_record(store, 3)
    assert again == record and isinstance(again.state, State)


def test_what_is_no_number_becomes_null(store: Store) -> None:
    record = full_record()
    record.epochs = [
        {"epoch": 1, "val_loss": float("nan"), "train_loss": float("inf"), "list": [float("-inf"), (1.0,)]}
    ]
    write_record(store, record)
    assert read_record(store, 3).epochs == [{"epoch": 1, "val_loss": None, "train_loss": None, "list": [None, [1.0]]}]
    assert b"NaN" not in encode_record(record) and b"Infinity" not in encode_record(record)


def test_records_come_by_number(store: Store) -> None:
    for trial in (12, 2, 100_001, 7):
        write_record(store, dataclasses.replace(full_record(), trial=trial))
    assert [record.trial for record in read_records(store)] == [2, 7, 12, 100_001]


def test_a_study_without_trials_has_no_records(store: Store) -> None:
    assert read_records(store) == []


def test_what_is_no_trial_is_passed_over(store: Store) -> None:
    write_record(store, full_record())
    store.write("trials/.DS_Store", b"")
    store.write("trials/00009/checkpoint.safetensors", b"killed before its first record")
    assert [record.trial for record in read_records(store)] == [3]


@pytest.mark.parametrize("found", [FORMAT + 1, None])
def test_another_format_is_refused_with_its_place(store: Store, found: int | None) -> None:
    raw = json.loads(encode_record(full_record())) | {"format": found}
    store.write_json("trials/00003/record.json", raw)
    with pytest.raises(FormatError) as caught:
        read_records(store)
    assert str(caught.value) == (
        f"{store.uri}/trials/00003/record.json: has format {found}, this version reads {FORMAT}; "
        "read the study with the version that wrote it"
    )


def test_a_field_that_a_later_version_added_is_passed_over(store: Store) -> None:
    raw = json.loads(encode_record(full_record())) | {"colour": "green"}
    store.write_json("trials/00003/record.json", raw)
    assert read_record(store, 3) == full_record()


def test_no_such_trial(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        read_record(store, 0)


def test_best_and_times() -> None:
    record = full_record()
    assert record.best == record.epochs[0] and record.train_seconds == 3.5
    record.best_epoch = None
    assert record.best == {}


def test_only_running_has_not_ended() -> None:
    assert [state for state in State if not state.ended] == [State.RUNNING]


def test_a_record_of_before_0_1_gets_what_it_lacks(store: Store) -> None:
    raw = json.loads(encode_record(full_record()))
    del raw["files"], raw["experiment"]["precision"]
    raw |= {"gpus": 0.0, "extra": {"lane": "lane-1"}}
    store.write(record_name(3), json.dumps(raw).encode())
    record = read_record(store, 3)
    assert record.files == FIRST_NAMES and record.extra["precision"] == "fp32"
    # The trial lasted ten minutes and trained for 3.5 s: it was interrupted.
    stint = {"lane": "lane-1", "started": "2026-01-01T00:09:56+00:00", "finished": "2026-01-01T00:10:00+00:00"}
    assert record.extra["stints"] == [stint]
