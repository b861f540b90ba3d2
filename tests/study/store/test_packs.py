"""Packs in the store: whole or not at all, found again by their key, refused where damaged, never needed."""

import dataclasses
import multiprocessing
import shutil
import uuid
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from seg import data, pack
from seg.data import Dataset
from seg.pack import Pack
from study import check
from study.store import Store, StoreError, packs
from study.store.packs import FILES


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


def at(storage: Store, packed: Pack, file: str) -> str:
    """Name of a published file."""
    folder = f"{packs.FOLDER}/{packed.folder.name}"
    found = {name.split("-", 1)[-1]: name for name in storage.names(folder)}
    return f"{folder}/{found.get(file, file)}"


def same(one: Pack, other: Pack) -> bool:
    arrays = np.array_equal(one.images_NHW3, other.images_NHW3) and np.array_equal(one.masks_NHW, other.masks_NHW)
    return arrays and (one.ids, one.splits, one.key) == (other.ids, other.splits, other.key)


def test_a_published_pack_is_downloaded_instead_of_decoded(
    storage: Store, packed: Pack, few: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sum(path.stat().st_size for path in packed.folder.iterdir())
    assert packs.publish(storage, packed) == sizes + len(storage.read(at(storage, packed, "manifest.json")))
    assert packs.publish(storage, packed) == 0, "it is there"
    monkeypatch.setattr("seg.pack.packing.Packing.write", None)  # whoever decodes fails
    said: list[str] = []
    other = pack.build(few, 32, tmp_path / "there", progress=False, obtain=packs.obtain_from(storage, said.append))
    assert same(other, packed) and other.folder.parent == tmp_path / "there"
    assert said[0].startswith(f"pack from {storage.uri}: 0 MB in ")


def test_a_machine_without_the_data_has_it_by_its_name(storage: Store, packed: Pack, tmp_path: Path) -> None:
    packs.publish(storage, packed)
    name, there = packed.folder.name, tmp_path / "there"
    assert packs.fetch(storage, "phantom-32-0000", there) is None
    found = packs.fetch(storage, name, there)
    assert found is not None and same(found, packed)
    assert [path.name for path in there.iterdir()] == [name]
    shutil.rmtree(packed.folder)
    assert packs.fetch(Store("memory://empty"), name, there) is not None, "from its own disk"


def fetched(uri: str, name: str, root: Path) -> bool:
    return packs.fetch(Store(uri), name, root) is not None


def test_processes_that_download_at_once_all_have_it(storage: Store, packed: Pack, tmp_path: Path) -> None:
    if storage.uri.startswith("memory://"):
        pytest.skip("of one process")
    packs.publish(storage, packed)
    arguments = (storage.uri, packed.folder.name, tmp_path / "there")
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as pool:
        assert all(each.result() for each in [pool.submit(fetched, *arguments) for _ in range(3)])
    assert [path.name for path in (tmp_path / "there").iterdir()] == [packed.folder.name]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [lambda c: c[:-9] + b"tampered!", lambda c: c[:-9]], ids=["tampered", "torn"])
def test_a_damaged_one_is_refused_and_decoded(
    storage: Store,
    packed: Pack,
    few: Dataset,
    tmp_path: Path,
    file: str,
    damage: Callable[[bytes], bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    packs.publish(storage, packed)
    storage.write(at(storage, packed, file), damage(storage.read(at(storage, packed, file))))
    assert packs.fetch(storage, packed.folder.name, tmp_path / "there") is None
    assert list((tmp_path / "there").iterdir()) == []
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and f"not used ({file} is not what was published" in told
    other = pack.build(few, 32, tmp_path / "there", progress=False, obtain=packs.obtain_from(storage))
    assert same(other, packed) and capsys.readouterr().err.endswith("; decoding instead\n")


MANIFESTS = [b"", b"[]", b'{"files": []}', b'{"files": [{"file": "../a", "bytes": 1, "sha256": "%s"}]}' % (b"0" * 64)]


@pytest.mark.parametrize("manifest", MANIFESTS)
def test_a_damaged_manifest_is_refused_and_published_again(
    packed: Pack, tmp_path: Path, manifest: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = Store(str(tmp_path / "storage"))
    packs.publish(storage, packed)
    storage.write(at(storage, packed, "manifest.json"), manifest)
    assert packs.fetch(storage, packed.folder.name, tmp_path / "there") is None
    assert "publish it again" in capsys.readouterr().err
    packs.publish(storage, packed)
    assert packs.fetch(storage, packed.folder.name, tmp_path / "there") is not None


def test_a_sound_pack_under_another_name_is_refused(packed: Pack, tmp_path: Path) -> None:
    """Whole and as published, and yet of other data than its name says."""
    other = "phantom-32-0123456789abcdef"
    shutil.copytree(packed.folder, packed.folder.with_name(other))
    storage = Store(str(tmp_path / "storage"))
    packs.publish(storage, dataclasses.replace(packed, folder=packed.folder.with_name(other)))
    assert packs.fetch(storage, other, tmp_path / "there") is None
    with pytest.raises(ValueError, match="is no name of one"):
        packs.fetch(storage, "../elsewhere", tmp_path / "there")


def test_a_damaged_one_on_its_own_disk_is_replaced(packed: Pack, tmp_path: Path) -> None:
    storage = Store(str(tmp_path / "storage"))
    packs.publish(storage, packed)
    masks = packed.folder / "masks.npy"
    content = masks.read_bytes()
    masks.write_bytes(content[:-1] + b"\7")
    assert packs.fetch(storage, packed.folder.name, packed.folder.parent) is not None
    assert masks.read_bytes() == content


def test_one_that_is_half_there_is_none(storage: Store, packed: Pack, tmp_path: Path) -> None:
    """Whoever published it was killed before the manifest, which comes last."""
    whole = packs.publish(storage, packed)
    storage.delete(at(storage, packed, "manifest.json"))
    assert packs.fetch(storage, packed.folder.name, tmp_path / "there") is None
    assert packs.publish(storage, packed) < whole / 10, "what is there is not sent again"
    storage.delete(at(storage, packed, "masks.npy"))
    assert packs.fetch(storage, packed.folder.name, tmp_path / "there") is None
    assert packs.publish(storage, packed) > packed.masks_NHW.nbytes
    assert packs.fetch(storage, packed.folder.name, tmp_path / "there") is not None


def test_a_storage_that_cannot_be_reached_is_no_hindrance(packed: Pack, few: Dataset, tmp_path: Path) -> None:
    class Gone(Store):
        def read(self, name: str) -> bytes:
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
