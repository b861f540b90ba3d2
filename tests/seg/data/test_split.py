"""The validation split depends on nothing but an image's id."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from seg.data import DataError, Dataset, load, parse, split


@dataclass(frozen=True)
class Named:
    id: str
    split: str = "train"

    def digest(self) -> str:
        return self.id

    def image(self, least: int | None = None) -> np.ndarray:
        raise AssertionError("splitting must not read images")

    def mask(self) -> np.ndarray:
        raise AssertionError("splitting must not read masks")


MANY = [Named(f"image-{number}") for number in range(5000)]


def test_a_fifth_of_the_training_images_validates() -> None:
    assigned = list(split.assign(MANY).values())
    # five standard deviations of a fair draw of 5000
    assert assigned.count("val") / len(MANY) == pytest.approx(0.2, abs=5 * np.sqrt(0.2 * 0.8 / len(MANY)))
    assert set(assigned) == {"train", "val"}


def test_order_and_company_do_not_matter() -> None:
    everything = split.assign(MANY)
    some = split.assign(reversed(MANY[::7]))
    assert some == {id: everything[id] for id in some}


def test_test_images_stay_test_images() -> None:
    assert set(split.assign([Named(f"image-{number}", "test") for number in range(200)]).values()) == {"test"}


def test_known_ids_keep_their_split() -> None:
    """Pinned: another result here would silently move images from training into validation."""
    ids = ["ISIC_0000000", "ISIC_0000001", "ISIC_0000004", "ISIC_0000010", "phantom_train_0000"]
    assert list(split.assign([Named(id) for id in ids]).values()) == ["train", "train", "val", "val", "val"]


def _dataset(count: int) -> Dataset:
    return Dataset("many", [*MANY[:count], Named("t", "test")], ("background", "object"), remark="a part")


def _ids(dataset: Dataset, name: str) -> set[str]:
    return {id for id, of in split.assign(dataset.samples).items() if of == name}


def test_fewer_training_images_are_among_more_and_nothing_else_changes() -> None:
    """So that a learning curve varies one thing."""
    whole = _dataset(500)
    few, more = split.fewer(whole, 20), split.fewer(whole, 200)
    assert len(_ids(few, "train")) == 20 and len(_ids(more, "train")) == 200
    assert _ids(few, "train") < _ids(more, "train") < _ids(whole, "train")
    assert _ids(few, "val") == _ids(more, "val") == _ids(whole, "val")
    assert _ids(few, "test") == {"t"}
    assert few.remark == f"a part; 20 of its {len(_ids(whole, 'train'))} training images taken"


def test_more_training_images_than_there_are_is_said() -> None:
    with pytest.raises(DataError, match=r"many: 11 training images asked for; it has \d"):
        split.fewer(_dataset(10), 11)


def test_a_dataset_is_named_with_the_number_of_its_training_images(tmp_path: Path) -> None:
    assert parse("phantom") == ("phantom", None)
    assert len(_ids(load("phantom:12", tmp_path), "train")) == 12
    for name in ("phantom:", "phantom:0", "phantom:many", "phantom:-3"):
        with pytest.raises(DataError, match="give a number, as in phantom:150"):
            parse(name)
