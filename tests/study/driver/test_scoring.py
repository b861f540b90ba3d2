"""Finalists scored where no Ray is: two models trained for an epoch on tiny images, then the sealed test split."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny_images import add_pair

from analysis import load, ranking
from analysis.report import pictures
from seg import data, loop, metrics, pack
from seg.experiment import Experiment
from seg.metrics import Counts
from seg.ranks import Ranks
from study.driver import finalists
from study.driver import pictures as study_pictures
from study.ranking.objective import Objective
from study.store import Store
from study.store.background import BackgroundWriter
from study.store.records import Record, State, write_record
from study.trials.attempt import Attempt
from study.trials.messages import LaneSettings

OBJECTIVE = Objective("val_iou", "max")
Study = tuple[Store, list[Record], dict[int, finalists.Scored], dict[str, Counts]]


def trained(trial: int, model: str, packed: pack.Pack, store: Store) -> Record:
    """As a lane's worker leaves it."""
    rates = {"decoder_lr": 1e-2, "encoder_lr": 1e-2, "encoder_weights": "none"}
    experiment = Experiment("isic2016", 64, model, "bce", epochs=1, batch_size=4, **rates)  # type: ignore[arg-type]
    device, writer = torch.device("cpu"), BackgroundWriter(store)
    run = loop.start(experiment, loop.load(packed, device), device, None, Ranks())
    done = Attempt(run, trial, OBJECTIVE, store, writer).train_epoch()
    writer.flush()
    record = Record(trial, f"{trial:08x}", State.COMPLETE, "search", experiment.to_json(), epochs=[done.row])
    record.best_epoch, record.files = 1, dict(done.files)
    write_record(store, record)
    return record


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("scored")
    for part, count in (("Training", 30), ("Test", 3)):
        for number in range(count):
            add_pair(folder / "data", part, f"ISIC_{part}_{number:03d}", seed=number + 100 * (part == "Test"))
    dataset, store = data.load("isic2016", folder / "data", download=False), Store(str(folder / "study"))
    spec = {"objective": {"metric": "val_iou", "mode": "max"}}
    about = {"name": "isic2016", "class_names": ["background", "lesion"]}
    store.write_json("study.json", {"format": 1, "name": "study", "spec": spec, "dataset": about})
    packed = pack.build(dataset, 64, folder / "packs")
    records = [trained(trial, model, packed, store) for trial, model in enumerate(("mobilenetv2_skip", "unet"))]
    settings = LaneSettings(store.uri, str(packed.folder), None, OBJECTIVE, workers=1, gpus_per_worker=0, threads=1)
    return store, records, *finalists.score(settings, dataset, records, records, joined=False)


def test_scores_are_those_of_the_counts_that_are_kept(study: Study) -> None:
    store, records, scored, _ = study
    for record in records:
        counts = pd.read_parquet(io.BytesIO(store.read(f"{record.folder}/{scored[record.trial].files['test_counts']}")))
        for size, name in (("train", "iou"), ("native", "native_iou")):
            image_iou = ranking.image_iou(counts[counts["size"] == size])
            assert len(image_iou) == 3
            assert scored[record.trial].scores[name] == pytest.approx(image_iou.mean(), abs=1e-9)


def test_what_no_training_gives_is_counted_on_the_same_images_at_their_own_size(study: Study) -> None:
    store, _, _, trivial = study
    masks = Path(store.uri).parent / "data" / "isic2016" / "ISBI2016_ISIC_Part1_Test_GroundTruth"
    lesions = [np.asarray(Image.open(path)) > 0 for path in sorted(masks.iterdir())]
    assert len(lesions) == 3 and all(lesion.shape == (30, 40) for lesion in lesions)
    background, foreground, _ = trivial.values()
    assert list(trivial) == ["every pixel background", "every pixel foreground", "the mean training mask"]
    assert metrics.scores(background)["iou"] == 0
    share = np.mean([lesion.mean() for lesion in lesions])
    for name in ("iou", "pixel_accuracy"):
        assert metrics.scores(foreground)[name] == pytest.approx(share)


def test_the_pictures_are_of_the_images_on_which_the_two_differ_most(study: Study) -> None:
    store, *_ = study
    opened = load.open_study(store.uri)
    trials, apart = load.duel(opened)
    first, second = (ranking.image_iou(load.counts(opened, trial)) for trial in (0, 1))  # type: ignore[arg-type]
    lead = (first - second).sort_values(ascending=False)
    won, lost = (
        lead[lead > 0].index[: study_pictures.DUEL_IMAGES].tolist(),
        lead[lead < 0].index[::-1][: study_pictures.DUEL_IMAGES].tolist(),
    )

    assert trials == (0, 1) and [one.id for one in apart] == won + lost and apart
    for one in apart:
        assert one.ious == pytest.approx((first[one.id], second[one.id]), abs=1e-9)
        assert Image.open(io.BytesIO(one.png)).size == (4 * round(256 * 40 / 30) + 3 * 6, 256)
    shown = pictures.duel(opened)
    assert shown is not None and sum(map(len, shown.strips.values())) == len(apart)


def test_pictures_of_an_earlier_pair_go(study: Study) -> None:
    store, (one, other), *_ = study
    listed = {image["file"] for image in store.read_json("duel/duel.json")["images"]}
    assert set(store.names("duel")) == {"duel.json", *listed}
    image, mask = np.zeros((30, 40, 3), np.uint8), np.zeros((30, 40), np.uint8)
    copy = Store(f"{store.uri}-copy")
    for name in ("duel.json", *listed):
        copy.write(f"duel/{name}", store.read(f"duel/{name}"))

    class Nothing:
        def mask(self, image_HW3: np.ndarray) -> np.ndarray:
            return np.zeros(image_HW3.shape[:2], np.uint8)

    found = [study_pictures.Disagreement("another", (0.5, 0.25))]
    study_pictures.write_duel(copy, (other, one), (Nothing(), Nothing()), found, [(image, mask)])  # type: ignore[arg-type]
    assert set(copy.names("duel")) == {"duel.json", "00001-00000-0-another.png"}
    assert copy.read_json("duel/duel.json")["trials"] == [1, 0]


def test_one_that_was_scored_before_is_shown_beside_the_new_one(study: Study, tmp_path: Path) -> None:
    """Its weights are read from the store: only the other one is scored."""
    store, records, scored, trivial = study
    copy = Store(str(tmp_path / "study"))
    for name in store.every_name(""):
        copy.write(name, store.read(name))
    settings = LaneSettings(copy.uri, str(study_pack(store)), None, OBJECTIVE, workers=1, gpus_per_worker=0, threads=1)
    dataset = data.load("isic2016", Path(store.uri).parent / "data", download=False)
    copy.delete("duel/duel.json")
    again, same = finalists.score(settings, dataset, records[1:], records, joined=False)
    assert list(again) == [1] and again[1].scores == pytest.approx(scored[1].scores)
    assert copy.read_json("duel/duel.json")["trials"] == [0, 1]
    assert all(torch.equal(found.hard, same[name].hard) for name, found in trivial.items())


def study_pack(store: Store) -> Path:
    (folder,) = (path.parent for path in (Path(store.uri).parent / "packs").rglob("*.json"))
    return folder
