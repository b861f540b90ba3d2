"""ISIC 2016: layout, and every way in which its files can be wrong."""

import http.server
import os
import shutil
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg.data import DATASETS, DataError, MissingData, download, isic, load

IMAGES = Path("isic2016/ISBI2016_ISIC_Part1_Training_Data")
MASKS = Path("isic2016/ISBI2016_ISIC_Part1_Training_GroundTruth")


def test_reads_pairs_and_says_what_is_there(tiny_isic: Path) -> None:
    dataset = load("isic2016", tiny_isic, download=False)
    assert [sample.split for sample in dataset.samples] == ["train"] * 10 + ["test"] * 3
    assert dataset.class_names == ("background", "lesion")
    assert dataset.remark == "10 of 900 training, 3 of 379 test images"
    image_HW3, mask_HW = dataset.read(dataset.samples[0])
    assert (image_HW3.shape, image_HW3.dtype) == ((30, 40, 3), np.uint8)
    assert (mask_HW.shape, mask_HW.dtype, mask_HW.sum()) == ((30, 40), np.uint8, 12 * 20)


def test_a_complete_set_needs_no_remark() -> None:
    assert isic._remark({"train": 900, "test": 379}) == ""


def test_mask_threshold_is_128(tiny_isic: Path) -> None:
    grey_HW = np.tile(np.array([0, 127, 128, 255], np.uint8), (30, 10))
    Image.fromarray(grey_HW).save(tiny_isic / MASKS / "ISIC_Training_000_Segmentation.png")
    sample = load("isic2016", tiny_isic).samples[0]
    assert sample.mask()[0, :4].tolist() == [0, 0, 1, 1]


def test_digest_follows_the_content_of_both_files(tiny_isic: Path) -> None:
    sample, other = load("isic2016", tiny_isic).samples[:2]
    before = sample.digest()
    assert before == sample.digest() != other.digest()
    shutil.copy(tiny_isic / MASKS / f"{other.id}_Segmentation.png", tiny_isic / MASKS / f"{sample.id}_Segmentation.png")
    assert sample.digest() != before


def test_missing_dataset_is_told_apart_without_download(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="ISBI2016_ISIC_Part1_Test_GroundTruth into"):
        load("isic2016", tmp_path, download=False)
    assert not list(tmp_path.iterdir())


def test_missing_folder(tiny_isic: Path) -> None:
    shutil.rmtree(tiny_isic / "isic2016/ISBI2016_ISIC_Part1_Test_Data")
    with pytest.raises(DataError, match="no folder ISBI2016_ISIC_Part1_Test_Data"):
        load("isic2016", tiny_isic)


def test_empty_mask_folder(tiny_isic: Path) -> None:
    shutil.rmtree(tiny_isic / MASKS)
    (tiny_isic / MASKS).mkdir()
    with pytest.raises(DataError, match="Training_GroundTruth: holds no image file; put"):
        load("isic2016", tiny_isic)


def test_images_without_a_mask_are_all_reported_at_once(tiny_isic: Path) -> None:
    for number in range(5):
        (tiny_isic / MASKS / f"ISIC_Training_{number:03d}_Segmentation.png").unlink()
    with pytest.raises(DataError, match=r"^5 image") as caught:
        load("isic2016", tiny_isic)
    assert "ISIC_Training_002" in str(caught.value)
    assert "ISIC_Training_003" not in str(caught.value)
    assert len(caught.value.problems) == 5
    assert "\n" not in str(caught.value)


def test_truncated_jpeg(tiny_isic: Path) -> None:
    path = tiny_isic / IMAGES / "ISIC_Training_000.jpg"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"ISIC_Training_000.jpg: cannot be read \(.*truncated"):
        load("isic2016", tiny_isic).samples[0].image()


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"])
def test_damaged_mask(tiny_isic: Path, content: bytes) -> None:
    (tiny_isic / MASKS / "ISIC_Training_000_Segmentation.png").write_bytes(content)
    with pytest.raises(DataError, match=r"ISIC_Training_000_Segmentation.png: cannot be read"):
        load("isic2016", tiny_isic).samples[0].mask()


def test_mask_of_another_size(tiny_isic: Path) -> None:
    Image.new("L", (41, 30)).save(tiny_isic / MASKS / "ISIC_Training_000_Segmentation.png")
    with pytest.raises(DataError, match=r"mask is 41×30 pixels, its image ISIC_Training_000.jpg is 40×30"):
        load("isic2016", tiny_isic).samples[0].mask()


def test_unknown_dataset_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="isic2017") as caught:
        load("isic2017", tmp_path)
    assert all(name in str(caught.value) for name in DATASETS)


@pytest.fixture
def server(tiny_isic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """An address that serves the four archives of the tiny dataset, and the folder they lie in."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    served = tmp_path / "served"
    served.mkdir()
    for folder in isic.FOLDERS:
        with zipfile.ZipFile(served / f"{folder}.zip", "w") as archive:
            for file in (tiny_isic / "isic2016" / folder).iterdir():
                archive.write(file, f"{folder}/{file.name}")
            archive.writestr(f"__MACOSX/{folder}/._junk.jpg", "junk")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object):
            super().__init__(*arguments, directory=str(served))  # type: ignore[arg-type]

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", served
        listening.shutdown()


def test_download_unpacks_everything(server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isic, "ADDRESS", server[0])
    dataset = load("isic2016", tmp_path / "fresh")
    assert dataset.remark == "10 of 900 training, 3 of 379 test images"
    assert [path.name for path in (tmp_path / "fresh").iterdir()] == ["isic2016"]


def test_interrupted_download_is_never_taken_for_data(
    server: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, served = server
    monkeypatch.setattr(isic, "ADDRESS", address)
    last = served / f"{isic.FOLDERS[-1]}.zip"
    last.rename(last.with_suffix(".away"))
    with pytest.raises(MissingData, match=r"Test_GroundTruth.zip: HTTP Error 404.*put the folders"):
        load("isic2016", tmp_path / "fresh")
    assert not (tmp_path / "fresh" / "isic2016").exists()
    last.with_suffix(".away").rename(last)
    (served / f"{isic.FOLDERS[0]}.zip").unlink()  # already fetched: not asked for again
    assert len(load("isic2016", tmp_path / "fresh").samples) == 13


def test_damaged_archive_is_fetched_again(server: tuple[str, Path], tmp_path: Path) -> None:
    address, served = server
    archive = served / f"{isic.FOLDERS[0]}.zip"
    sound = archive.read_bytes()
    wanted = [download.Archive(f"{address}/{archive.name}", folder=isic.FOLDERS[0])]
    archive.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(OSError, match="is damaged"):
        download.fetch_archives(wanted, tmp_path / "fresh")
    archive.write_bytes(sound)
    download.fetch_archives(wanted, tmp_path / "fresh")
    assert len(list((tmp_path / "fresh" / isic.FOLDERS[0]).iterdir())) == 10


def test_the_real_subset(real_data: Path) -> None:
    dataset = load("isic2016", real_data, download=False)
    counts = [sum(sample.split == split for sample in dataset.samples) for split in ("train", "test")]
    assert dataset.remark == (
        "" if counts == [900, 379] else f"{counts[0]} of 900 training, {counts[1]} of 379 test images"
    )
    image_HW3, mask_HW = dataset.read(dataset.samples[0])
    assert image_HW3.shape[:2] == mask_HW.shape
    assert 0 < mask_HW.mean() < 1
