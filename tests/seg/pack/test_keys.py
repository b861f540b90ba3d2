"""The keys of packs do not change when code moves: packs that were made before are found, not made again.

The values were computed before modules moved into sub-packages. A pack is large: change one of them only with a reason.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from seg import data
from seg.data import coco, folder, image_file, isic, pets
from seg.data.image_file import FileSample, meaning
from seg.pack.packing import Packing

DIGESTS = {
    "as it is": (image_file._as_it_is, "88e6acfa263952a1106e08621fdafc91"),
    "isic2016": (isic._lesion, "e8f65f20f62d50d93c372bbd084663ed"),
    "pets": (partial(pets._classes, pets.OF_TRIMAP["pets"]), "1b2e2760a35929e91761da942b176cfa"),
    "pets_binary": (partial(pets._classes, pets.OF_TRIMAP["pets_binary"]), "ee911c3ebbbe3d542f99850b8e1e21f9"),
    "folder, 0 and 1": (folder._white, "b538cd70b33c4b9e5ace8a257982f86c"),
    "folder, 0 and 255": (folder._foreground, "a3a89af275641134ad707e712e9fc400"),
    "folder, classes": (partial(folder._within, ("background", "cell")), "46bde51b24caa689bf5dd7e40ffdf6aa"),
}
KEYS = {"phantom": "68b5d6fc12dd3ca6", "phantom5": "470e14c741935ee3"}
REAL_KEYS = {
    "isic2016": "6a484c54ca8cb0dc",
    "pets": "2205e1b69fe1603c",
    "pets_binary": "ef7bae8409a4c3d3",
    "coco": "2784ac3d6042c16e",
}
FOLDERS = {"camvid": "1a36049f553da3be", "dsb2018": "829c69cc788a952e"}
"""Folders of people's own images."""


@pytest.mark.parametrize("kind", DIGESTS)
def test_the_digest_of_a_sample_stays(tmp_path: Path, kind: str) -> None:
    classes_of, expected = DIGESTS[kind]
    (tmp_path / "image").write_bytes(b"image")
    (tmp_path / "mask").write_bytes(b"mask")
    sample = FileSample("one", "train", tmp_path / "image", tmp_path / "mask", classes_of)
    assert sample.digest() == expected


def test_the_digest_of_a_coco_sample_stays(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(b"image")
    outlines = (coco.Outline(1, [[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]]),)
    assert (
        coco.CocoSample("one", "train", tmp_path / "image", (4, 4), outlines).digest()
        == "1e9565a9afd9dfa33db244880f804139"
    )


@pytest.mark.parametrize("name", KEYS)
def test_the_key_of_a_generated_dataset_stays(name: str) -> None:
    assert Packing(data.load(name, Path("nowhere")), 64, progress=False).key == KEYS[name]


@pytest.mark.parametrize("name", REAL_KEYS)
def test_the_key_of_a_real_dataset_stays(real_data: Path, name: str) -> None:
    assert Packing(data.load(name, real_data, download=False), 64, progress=False).key == REAL_KEYS[name]


@pytest.mark.parametrize("name", FOLDERS)
def test_the_key_of_a_folder_stays(real_data: Path, name: str) -> None:
    assert Packing(data.load("folder", real_data / name), 64, progress=False).key == FOLDERS[name]


def test_a_function_without_a_name_is_not_used_for_packs() -> None:
    def halved(values_HW: np.ndarray) -> np.ndarray:
        return values_HW // 2

    with pytest.raises(KeyError):
        meaning(halved)
