"""Packs: made once, keyed by content, and never used when damaged."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg import pack
from seg.data import DataError, Dataset, load
from seg.pack import files
from seg.pack.pack import ABANDONED_SECONDS
from seg.pack.packing import resize_image, resize_mask

MASKS = Path("isic2016/ISBI2016_ISIC_Part1_Training_GroundTruth")
IMAGES = Path("isic2016/ISBI2016_ISIC_Part1_Training_Data")


@pytest.fixture
def tiny(tiny_isic: Path) -> Dataset:
    return load("isic2016", tiny_isic)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "packs"


def test_holds_every_sample_resized(tiny: Dataset, root: Path) -> None:
    made = pack.build(tiny, 16, root, progress=False)
    assert (made.images_NHW3.shape, made.masks_NHW.shape) == ((13, 16, 16, 3), (13, 16, 16))
    assert isinstance(made.images_NHW3, np.memmap)
    assert not made.images_NHW3.flags.writeable
    samples = {sample.id: sample for sample in tiny.samples}
    assert list(made.ids) == sorted(samples)
    for index, id in enumerate(made.ids):
        np.testing.assert_array_equal(made.images_NHW3[index], resize_image(samples[id].image(), 16))
        np.testing.assert_array_equal(made.masks_NHW[index], resize_mask(samples[id].mask(), 16))
    assert made.native_sizes_hw.tolist() == [[30, 40]] * 13
    assert (made.dataset, made.image_size, made.classes, made.remark) == ("isic2016", 16, 2, tiny.remark)
    assert made.folder == root / f"isic2016-16-{made.key}"
    assert [path.name for path in root.iterdir()] == [made.folder.name]


def test_splits_partition_the_images(tiny: Dataset, root: Path) -> None:
    made = pack.build(tiny, 16, root, progress=False)
    parts = [made.indices(name) for name in ("train", "val", "test")]
    assert sorted(np.concatenate(parts).tolist()) == list(range(13))
    assert all(len(part) for part in parts)
    assert {made.ids[index][:9] for index in parts[2]} == {"ISIC_Test"}
    with pytest.raises(ValueError, match="validation"):
        made.indices("validation")


def test_class_frequencies_are_those_of_the_training_images(tiny: Dataset, root: Path) -> None:
    made = pack.build(tiny, 16, root, progress=False)
    lesion = np.mean(made.masks_NHW[made.indices("train")] == 1)
    np.testing.assert_allclose(made.class_frequencies, [1 - lesion, lesion])


def test_is_made_once(tiny: Dataset, root: Path) -> None:
    first = pack.build(tiny, 16, root, progress=False)
    written = (first.folder / "images.npy").stat().st_mtime_ns
    again = pack.build(dataclasses.replace(tiny, samples=tiny.samples[::-1]), 16, root, progress=False)
    assert again.folder == first.folder
    assert (again.folder / "images.npy").stat().st_mtime_ns == written


def test_another_size_or_other_content_is_another_pack(tiny: Dataset, tiny_isic: Path, root: Path) -> None:
    keys = {pack.build(tiny, 16, root, progress=False).key, pack.build(tiny, 24, root, progress=False).key}
    Image.new("L", (40, 30), 255).save(tiny_isic / MASKS / "ISIC_Training_000_Segmentation.png")
    keys.add(pack.build(tiny, 16, root, progress=False).key)
    keys.add(pack.build(dataclasses.replace(tiny, samples=tiny.samples[1:]), 16, root, progress=False).key)
    assert len(keys) == 4


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.write_bytes(content)


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def older_format(path: Path) -> None:
    path.write_text(path.read_text().replace(f'"format": {files.FORMAT}', '"format": 0'))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (name, damage)
        for name in ("images.npy", "masks.npy", "index.json")
        for damage in (flip_a_byte, cut_in_half, Path.unlink)
    ]
    + [("index.json", older_format)],
)
def test_a_damaged_pack_is_refused_and_built_again(tiny: Dataset, root: Path, name: str, damage, capsys) -> None:
    made = pack.build(tiny, 16, root, progress=False)
    expected = np.array(made.images_NHW3), np.array(made.masks_NHW)
    damage(made.folder / name)
    with pytest.raises(DataError, match=f"not a sound pack .*{name}.*delete it"):
        pack.open_pack(made.folder)
    again = pack.build(tiny, 16, root, progress=False)
    assert "building it again" in capsys.readouterr().err
    np.testing.assert_array_equal(again.images_NHW3, expected[0])
    np.testing.assert_array_equal(again.masks_NHW, expected[1])
    assert [path.name for path in root.iterdir()] == [made.folder.name]


def test_open_without_verifying_skips_the_checksums_only(tiny: Dataset, root: Path) -> None:
    made = pack.build(tiny, 16, root, progress=False)
    flip_a_byte(made.folder / "images.npy")
    assert pack.open_pack(made.folder, verify=False).ids == made.ids
    cut_in_half(made.folder / "images.npy")
    with pytest.raises(DataError, match=r"images\.npy"):
        pack.open_pack(made.folder, verify=False)


def test_opening_nothing_is_a_data_error(root: Path) -> None:
    with pytest.raises(DataError, match=r"index\.json"):
        pack.open_pack(root / "nothing")


def test_unreadable_samples_are_reported_together(tiny: Dataset, tiny_isic: Path, root: Path) -> None:
    cut_in_half(tiny_isic / IMAGES / "ISIC_Training_000.jpg")
    Image.new("L", (41, 30)).save(tiny_isic / MASKS / "ISIC_Training_001_Segmentation.png")
    for number in (2, 3):
        (tiny_isic / MASKS / f"ISIC_Training_{number:03d}_Segmentation.png").write_bytes(b"nonsense")
    with pytest.raises(DataError) as caught:
        pack.build(tiny, 16, root, progress=False)
    message = str(caught.value)
    assert message.startswith("4 of 13 images cannot be used: ")
    assert all(text in message for text in ("ISIC_Training_000.jpg", "truncated", "41×30", "python -m study.check"))
    assert "ISIC_Training_003" not in message
    assert "\n" not in message
    assert len(caught.value.problems) == 4
    assert not list(root.iterdir())


def test_a_mask_value_that_is_no_class(tiny: Dataset, root: Path) -> None:
    with pytest.raises(DataError, match=r"mask holds the value 1; it may hold 0 to 0 \(background\) and 255"):
        pack.build(dataclasses.replace(tiny, class_names=("background",)), 16, root, progress=False)


def test_the_same_id_twice(tiny: Dataset, root: Path) -> None:
    with pytest.raises(DataError, match="ISIC_Training_000 occurs 2 times"):
        pack.build(dataclasses.replace(tiny, samples=[*tiny.samples, tiny.samples[0]]), 16, root, progress=False)


@pytest.mark.parametrize("kept", [[], ["ISIC_Training_000"], ["ISIC_Test_000"]])
def test_too_few_images_to_train_and_validate(tiny: Dataset, root: Path, kept: list[str]) -> None:
    few = dataclasses.replace(tiny, samples=[sample for sample in tiny.samples if sample.id in kept])
    with pytest.raises(DataError, match=f"none of {len(kept)} images is left to (train|val)"):
        pack.build(few, 16, root, progress=False)


def test_a_root_that_cannot_be_written(tiny: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"cannot be written .*STUDY_CACHE"):
        pack.build(tiny, 16, tmp_path / "file", progress=False)


def test_abandoned_folders_are_removed_and_fresh_ones_are_not(tiny: Dataset, root: Path) -> None:
    folder = pack.build(tiny, 16, root, progress=False).folder
    old, fresh = (root / f"{folder.name}.{name}.partial" for name in ("aaaa", "bbbb"))
    for path in (old, fresh):
        path.mkdir()
    yesterday = time.time() - 2 * ABANDONED_SECONDS
    os.utime(old, (yesterday, yesterday))
    cut_in_half(folder / "images.npy")
    pack.build(tiny, 16, root, progress=False)
    assert {path.name for path in root.iterdir()} == {folder.name, fresh.name}


BUILD = """
import sys; from pathlib import Path
from seg import data, pack
made = pack.build(data.load("isic2016", Path(sys.argv[1])), 32, sys.argv[2])
print(made.folder, int(made.images_NHW3.sum(dtype="int64")))
"""


@pytest.mark.parametrize("damaged_before", [False, True])
def test_processes_building_at_once_all_end_with_a_sound_pack(
    tiny: Dataset, tiny_isic: Path, root: Path, damaged_before: bool
) -> None:
    if damaged_before:
        flip_a_byte(pack.build(tiny, 32, root, progress=False).folder / "masks.npy")
    command = [sys.executable, "-c", BUILD, str(tiny_isic), str(root)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], outputs
    assert len({output for output, _ in outputs}) == 1
    assert len(list(root.iterdir())) == 1
    pack.open_pack(next(root.iterdir()))


def test_when_piped_one_line_says_what_was_made(tiny_isic: Path, root: Path) -> None:
    command = [sys.executable, "-c", BUILD, str(tiny_isic), str(root)]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))
    assert first.stderr.startswith("packed 13 images in ")
    assert first.stderr.count("\n") == 1
    assert second.stderr == ""


def test_building_imports_no_torch() -> None:
    script = "import sys; import seg.pack, seg.data; print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "False\n"
    )


def test_default_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_CACHE", "/somewhere")
    assert pack.default_root() == Path("/somewhere")
    monkeypatch.delenv("STUDY_CACHE")
    monkeypatch.setenv("HOME", "/home/someone")
    assert pack.default_root() == Path("/home/someone/.cache/segstudy/packs")


def test_the_index_reads_without_this_code(tiny: Dataset, root: Path) -> None:
    made = pack.build(tiny, 16, root, progress=False)
    index = json.loads((made.folder / "index.json").read_text())
    assert index["ids"] == list(made.ids)
    assert index["format"] == files.FORMAT


def test_the_real_subset_packs(real_data: Path, root: Path) -> None:
    made = pack.build(load("isic2016", real_data, download=False), 32, root, progress=False)
    assert 0.15 < made.class_frequencies[1] < 0.35
    share = len(made.indices("val")) / (len(made.indices("val")) + len(made.indices("train")))
    assert share == pytest.approx(0.2, abs=0.05)
