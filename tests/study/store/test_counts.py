"""Counts as a table: one row an image and class, and back without loss."""

import pytest
import torch

from seg.metrics import Counts
from study.store.counts import confusion_table, from_parquet, from_table, to_parquet, to_table


@pytest.mark.parametrize("classes", [2, 5])
def test_round_trip_through_parquet(classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    hard = torch.randint(0, 2**40, (3, classes, 4), generator=generator)
    soft = torch.rand(3, classes, 3, generator=generator, dtype=torch.float64)
    ids, counts = from_table(from_parquet(to_parquet(to_table(["b", "a", "c"], Counts(hard, soft)))))
    assert ids == ["b", "a", "c"]
    assert torch.equal(counts.hard, hard) and torch.equal(counts.soft, soft)


def test_one_row_an_image_and_class() -> None:
    hard = torch.arange(2 * 2 * 4).view(2, 2, 4)
    table = to_table(["x", "y"], Counts(hard, torch.zeros(2, 2, 3, dtype=torch.float64)))
    assert table["id"].tolist() == ["x", "x", "y", "y"] and table["class"].tolist() == [0, 1, 0, 1]
    assert table[["tp", "fp", "fn", "tn"]].iloc[2].tolist() == [8, 9, 10, 11]
    assert (table[["tp", "fp", "fn", "tn"]].dtypes == "int64").all()


def test_confusion_table_has_a_row_for_each_pair_of_classes() -> None:
    confusion = torch.tensor([[7, 1, 0], [2, 5, 0], [0, 3, 9]])
    nothing = torch.zeros(1, 3, 4, dtype=torch.int64)
    table = confusion_table(Counts(nothing, nothing[..., :3].double(), confusion))
    assert table.to_dict("list") == {
        "truth": [0, 0, 0, 1, 1, 1, 2, 2, 2],
        "prediction": [0, 1, 2] * 3,
        "pixels": [7, 1, 0, 2, 5, 0, 0, 3, 9],
    }
