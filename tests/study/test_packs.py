"""Packs in the store: whole or not at all, found again by their key, refused where damaged, never needed."""

import shutil
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from seg import data, pack
from seg.data import Dataset
from seg.pack import Pack
from study import check, packs
from study.store import Store, StoreError


@pytest.fixture(scope="module")
def few() -> Dataset:
    whole = data.load("phantom", Path("nowhere"))
    return Dataset(whole.name, whole.samples[:12], whole.class_names, whole.remark, whole.synthetic)


@pytest.fixture
def packed(few: Dataset, tmp_path: Path) -> Pack:
    return pack.build(few, 32, tmp_path / "here", progress=False)


@pytest.fixture(params=["folder", "memory://", "s3://"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Store(str(tmp_path / "storage"))
    if request.param == "s3://":
        request.getfixturevalue("s3_server")
        return Store(f"s3://studies/{uuid.uuid4().hex}")
    return Store(f"memory://{uuid.uuid4().hex}")


def same(one: Pack, other: Pack) -> bool:
    arrays = np.array_equal(one.images_NHW3, other.images_NHW3) and np.array_equal(one.masks_NHW, other.masks_NHW)
    return arrays and (one.ids, one.splits, one.key) == (other.ids, other.splits, other.key)


def test_a_published_pack_is_downloaded_instead_of_decoded(
    storage: Store, packed: Pack, few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert packs.publish(storage, packed) == sum(path.stat().st_size for path in packed.folder.iterdir())
    assert packs.publish(storage, packed) == 0, "it is there"
    monkeypatch.setattr("seg.packing.Packing.write", None)  # whoever decodes fails
    said: list[str] = []
    other = pack.build(few, 32, tmp_path / "there", progress=False, obtain=packs.obtain_from(storage, said.append))
    assert same(other, packed) and other.folder.parent == tmp_path / "there"
    assert said[0].startswith(f"pack from {storage.uri}: 0 MB in ")


def test_a_machine_without_the_data_has_it_by_its_name(storage: Store, packed: Pack, tmp_path: Path) -> None:
    packs.publish(storage, packed)
    name = packed.folder.name
    assert packs.fetch(storage, "phantom-32-0000", tmp_path / "there") is None
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: packs.fetch(storage, name, tmp_path / "there"), range(4)))
    assert all(one is not None and same(one, packed) for one in found)
    assert [path.name for path in (tmp_path / "there").iterdir()] == [name]
    shutil.rmtree(packed.folder)
    again = packs.fetch(storage, name, tmp_path / "there")
    assert again is not None, "from its own disk"


@pytest.mark.parametrize("file", packs.FILES)
def test_a_damaged_one_is_refused_and_decoded(
    storage: Store, packed: Pack, few: Dataset, tmp_path: Path, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    packs.publish(storage, packed)
    content = storage.read(f".packs/{packed.folder.name}/{file}")
    storage.write(f".packs/{packed.folder.name}/{file}", content[:-9] + b"tampered!")
    assert packs.fetch(storage, packed.folder.name, tmp_path / "there") is None
    assert list((tmp_path / "there").iterdir()) == []
    other = pack.build(few, 32, tmp_path / "there", progress=False, obtain=packs.obtain_from(storage))
    assert same(other, packed) and "not used: " in capsys.readouterr().err


def test_one_that_is_half_there_is_none(storage: Store, packed: Pack, tmp_path: Path) -> None:
    """Whoever published it was killed before the index, which comes last."""
    packs.publish(storage, packed)
    storage.delete(f".packs/{packed.folder.name}/index.json")
    assert packs.fetch(storage, packed.folder.name, tmp_path / "there") is None
    assert packs.publish(storage, packed) > 0, "and is published again"
    storage.delete(f".packs/{packed.folder.name}/masks.npy")
    assert packs.fetch(storage, packed.folder.name, tmp_path / "there") is None


def test_a_storage_that_cannot_be_reached_is_no_hindrance(packed: Pack, few: Dataset, tmp_path: Path) -> None:
    class Gone(Store):
        def exists(self, name: str) -> bool:
            raise ConnectionError("connection refused")

    said: list[str] = []
    obtain = packs.obtain_from(Gone("memory://gone"), said.append)
    assert same(pack.build(few, 32, tmp_path / "there", progress=False, obtain=obtain), packed)
    assert "connection refused" in said[0] and said[0].endswith("decoding instead")
    with pytest.raises(StoreError, match="connection refused"):
        packs.publish(Gone("memory://gone"), packed)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path / "cache"))
    arguments = ["phantom", "--image-size", "64", "--publish", str(tmp_path / "storage")]
    assert check.main(arguments) == 0
    assert "published: the pack of 300 images at 64 px, 5 MB sent in " in capsys.readouterr().out
    assert check.main(arguments) == 0
    assert "it was there already" in capsys.readouterr().out
    assert check.main(["phantom5", "--publish", str(tmp_path / "storage")]) == 2
    assert "is a dataset; to publish, name a study" in capsys.readouterr().err
    (tmp_path / "file").write_text("no folder")
    assert check.main([*arguments[:3], "--publish", str(tmp_path / "file")]) == 2
    error = capsys.readouterr().err
    assert "cannot be used" in error and error.count("\n") == 1
