"""One contract, every kind of storage: what is written is read back, whole or not at all."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import s3fs
from s3_server import S3Server

from study.store import Store, StoreError


@pytest.fixture(params=["folder", "file://", "memory://", "s3://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind; memory:// is fsspec's object store, with neither renames nor real folders."""
    uris = {
        "folder": str(tmp_path / "a study"),
        "file://": f"file://{tmp_path}/study",
        "memory://": f"memory://{uuid.uuid4().hex}",
        "s3://": f"s3://studies/{uuid.uuid4().hex}",
    }
    if request.param == "s3://":
        request.getfixturevalue("s3_server")
    return Store(uris[request.param])


def test_what_is_written_is_read_back(store: Store) -> None:
    store.write("trials/00000/record.json", b"one")
    assert store.read("trials/00000/record.json") == b"one"
    assert store.exists("trials/00000/record.json") and not store.exists("trials/00001/record.json")


def test_a_second_write_replaces_the_first(store: Store) -> None:
    store.write("a", b"a long first content")
    store.write("a", b"short")
    assert store.read("a") == b"short" and store.names("") == ["a"]


def test_another_store_of_the_same_uri_sees_it_at_once(store: Store) -> None:
    other = Store(store.uri)
    assert other.names("") == [] and not other.exists("a")
    store.write("a", b"1")
    assert other.names("") == ["a"] and other.exists("a")


def test_reading_what_is_not_there(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("nothing")


def test_deleting(store: Store) -> None:
    store.write("folder/a", b"1")
    store.write("folder/b", b"2")
    store.delete("folder/a")
    assert store.names("folder") == ["b"]


def test_deleting_what_is_not_there_does_nothing(store: Store) -> None:
    store.delete("nothing")
    store.delete("no/such/folder")


def test_names_are_sorted_direct_and_relative(store: Store) -> None:
    for name in ("trials/00010/record.json", "trials/00002/record.json", "trials/00002/best.safetensors", "study.json"):
        store.write(name, b"x")
    assert store.names("trials") == ["00002", "00010"]
    assert store.names("trials/00002") == ["best.safetensors", "record.json"]
    assert store.names("") == ["study.json", "trials"]
    assert store.names("gallery") == []


def test_names_hide_what_is_half_written(store: Store) -> None:
    store.write("trials/00000/record.json", b"x")
    store.write("trials/00000/record.json.0123abcd.partial", b"left behind by a kill")
    assert store.names("trials/00000") == ["record.json"]


def test_every_name_at_any_depth(store: Store) -> None:
    assert store.every_name("trials") == []
    for name in ("trials/00001/a/b", "trials/00000/c", "trials/00000/c.0123abcd.partial", "study.json"):
        store.write(name, b"x")
    assert store.every_name("trials") == ["trials/00000/c", "trials/00000/c.0123abcd.partial", "trials/00001/a/b"]


def test_reading_many_at_once(store: Store) -> None:
    names = [f"trials/{number:05d}/record [1]*.json" for number in range(20)]
    for number, name in enumerate(names):
        store.write(name, str(number).encode())
    found = store.read_each([*names, "trials/00020/record.json"])
    assert list(found) == names, "in the order asked for, without what is missing"
    assert list(found.values()) == [str(number).encode() for number in range(20)]
    assert store.read_each([]) == {} and store.read_each(["none"]) == {}


def test_reading_many_from_s3_is_a_request_each(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client would ask for the size of each first: twice as long for a study of a thousand records."""
    store = Store(f"s3://studies/{uuid.uuid4().hex}")
    names = [f"{number}.json" for number in range(5)]
    for name in names:
        store.write(name, b"content")
    asked, call = [], s3fs.S3FileSystem._call_s3

    async def counted(self: Any, method: str, *arguments: Any, **named: Any) -> Any:
        asked.append(method)
        return await call(self, method, *arguments, **named)

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counted)
    assert store.read_each(names) == dict.fromkeys(names, b"content")
    assert asked == ["get_object"] * 5


def test_of_many_that_create_one_name_one_succeeds(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: Store(store.uri).create("study.json", f"{n}".encode()), range(8)))
    assert made.count(True) == 1
    assert store.read("study.json") == str(made.index(True)).encode()
    assert store.names("") == ["study.json"]


def test_creating_again_what_is_there_already_is_an_answer_that_was_lost(store: Store) -> None:
    assert store.create("a", b"mine") and store.create("a", b"mine")
    assert not store.create("a", b"other") and store.read("a") == b"mine"


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, "ü"], "b": {}}, [], None, True])
def test_json_round_trip(store: Store, value: object) -> None:
    store.write_json("x.json", value)
    assert store.read_json("x.json") == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_is_strict_and_a_refused_value_changes_nothing(store: Store, number: float) -> None:
    store.write_json("x.json", {"good": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.write_json("x.json", {"bad": number})
    assert store.read_json("x.json") == {"good": 1}


def test_a_reader_never_sees_half_a_file(store: Store) -> None:
    """One thread replaces a JSON file, long and short in turn, while it is read."""
    contents = [{"rows": list(range(50_000))}, {"rows": [0]}]
    store.write_json("x.json", contents[0])
    done = threading.Event()

    def replace() -> None:
        for number in range(1, 31):
            store.write_json("x.json", contents[number % 2])
        done.set()

    writer = threading.Thread(target=replace)
    writer.start()
    reads = 0
    while not done.is_set() or not reads:
        assert json.loads(store.read("x.json")) in contents
        reads += 1
    writer.join()


def test_a_failed_write_leaves_the_old_content_and_nothing_beside_it(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("a", b"old")
    with pytest.raises(TypeError):
        store.write("a", "a text, not bytes")  # type: ignore[arg-type]
    assert store.read("a") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_writable_place_is_left_as_it_was(store: Store) -> None:
    store.check_writable()
    assert store.names("") == []


def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError) as caught:
        Store(str(tmp_path / "file" / "study")).check_writable()
    assert str(caught.value).startswith(f"{tmp_path}/file/study: cannot be used (")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["tape://reel/7", "S4://bucket"])
def test_an_unknown_kind_of_storage_is_refused(uri: str) -> None:
    with pytest.raises(StoreError, match=r"cannot be used .*; give a folder or s3://bucket/prefix"):
        Store(uri)


def test_a_trailing_slash_makes_no_other_store() -> None:
    assert Store("memory://bucket/study/").uri == Store("memory://bucket/study").uri
