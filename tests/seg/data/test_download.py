"""Downloads: going on where they broke off, checked, unpacked whole and nowhere else."""

import hashlib
import http.server
import io
import random
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from seg.data import download
from seg.data.download import Archive, fetch_archives

CONTENT = bytes(range(256)) * 4000


class Server:
    """Serves one file; breaks connections off, and knows ranges, as told. `asked` keeps each request's range."""

    def __init__(self) -> None:
        self.body, self.etag, self.ranges = b"", '"1"', True
        self.break_after: list[int] = []
        self.asked: list[str | None] = []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers.get("Range")
                server.asked.append(wanted)
                valid = server.ranges and wanted and self.headers.get("If-Range") == server.etag
                start = int(wanted.split("=")[1].rstrip("-")) if valid and wanted else 0
                if start and start >= len(server.body):
                    return self.send_error(416)
                self.send_response(206 if valid else 200)
                self.send_header("ETag", server.etag)
                self.send_header("Content-Length", str(len(server.body) - start))
                self.end_headers()
                end = server.break_after.pop(0) if server.break_after else len(server.body)
                self.wfile.write(server.body[start:end])

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.http.server_port}/{name}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0.0)
    found = Server()
    with found.http:
        threading.Thread(target=found.http.serve_forever, daemon=True).start()
        yield found
        found.http.shutdown()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def taped(files: dict[str, bytes], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo("images/link")
            entry.type, entry.linkname = tarfile.SYMTYPE, link
            archive.addfile(entry)
    return buffer.getvalue()


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_broken_connection_is_taken_up_at_the_last_byte(server: Server, tmp_path: Path) -> None:
    server.body = zipped({"val/a.bin": CONTENT})
    server.break_after = [1000, 5000]
    fetch_archives([Archive(server.address("val.zip"))], tmp_path / "coco")
    assert server.asked == [None, "bytes=1000-", "bytes=5000-"]
    assert files(tmp_path / "coco") == {"val/a.bin": CONTENT}
    assert [path.name for path in tmp_path.iterdir()] == ["coco"]


def test_a_later_run_goes_on_where_the_first_gave_up(server: Server, tmp_path: Path, monkeypatch: Any) -> None:
    server.body = zipped({"val/a.bin": CONTENT})
    server.break_after = [1000] * 2
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    with pytest.raises(OSError, match=r"val.zip: 1000 of \d+ bytes arrived"):
        fetch_archives([Archive(server.address("val.zip"))], tmp_path / "coco")
    assert not (tmp_path / "coco").exists()
    fetch_archives([Archive(server.address("val.zip"))], tmp_path / "coco")
    assert server.asked[-1] == "bytes=1000-" and files(tmp_path / "coco") == {"val/a.bin": CONTENT}


@pytest.mark.parametrize("change", ["no ranges", "another file"])
def test_a_server_that_cannot_go_on_starts_over(server: Server, tmp_path: Path, change: str) -> None:
    server.body = zipped({"val/a.bin": CONTENT[::-1]})
    server.break_after = [1000]
    server.ranges = change != "no ranges"

    def then(*_: Any) -> None:
        if change == "another file":
            server.body, server.etag = zipped({"val/a.bin": CONTENT}), '"2"'

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download.time, "sleep", then)
        fetch_archives([Archive(server.address("val.zip"))], tmp_path / "coco")
    expected = CONTENT if change == "another file" else CONTENT[::-1]
    assert files(tmp_path / "coco") == {"val/a.bin": expected}


def test_a_run_that_was_killed_at_the_last_byte_starts_over(server: Server, tmp_path: Path) -> None:
    server.body = zipped({"val/a.bin": CONTENT})
    store = tmp_path / "coco.download"
    store.mkdir()
    (store / "val.zip.partial").write_bytes(server.body)
    (store / "val.zip.partial.etag").write_text(server.etag)
    fetch_archives([Archive(server.address("val.zip"))], tmp_path / "coco")
    assert server.asked == [f"bytes={len(server.body)}-", None] and files(tmp_path / "coco") == {"val/a.bin": CONTENT}


def test_a_tape_keeps_its_folders_and_leaves_links_and_hidden_files_out(server: Server, tmp_path: Path) -> None:
    server.body = taped({"images/a.jpg": b"a", "images/._a.jpg": b"junk"}, link="/etc/passwd")
    md5 = hashlib.md5(server.body).hexdigest()
    fetch_archives([Archive(server.address("images.tar.gz"), md5=md5)], tmp_path / "pets")
    assert files(tmp_path / "pets") == {"images/a.jpg": b"a"}


def test_a_file_with_another_md5_is_refused_and_fetched_again(server: Server, tmp_path: Path) -> None:
    server.body = taped({"images/a.jpg": b"a"})
    wanted = [Archive(server.address("images.tar.gz"), md5="0" * 32)]
    for _ in range(2):
        with pytest.raises(OSError, match="is damaged: its MD5 is"):
            fetch_archives(wanted, tmp_path / "pets")
    assert server.asked == [None, None] and not (tmp_path / "pets").exists()


@pytest.mark.parametrize("name", ["../outside.txt", "/tmp/outside.txt", "a/../../outside.txt"])
def test_nothing_is_written_outside(server: Server, tmp_path: Path, name: str) -> None:
    for content, archive in ((zipped({name: b"x"}), "a.zip"), (taped({name: b"x"}), "a.tar.gz")):
        server.body = content
        with pytest.raises(OSError, match="which lies outside"):
            fetch_archives([Archive(server.address(archive))], tmp_path / "in" / archive / "data")
    assert not list(tmp_path.rglob("outside.txt"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_tape_makes_no_links_devices_or_pipes(server: Server, tmp_path: Path, kind: bytes) -> None:
    """Nor is anything written through a link that the tape brought before it."""
    (tmp_path / "outside").mkdir()
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w:gz") as tape:
        strange = tarfile.TarInfo("images")
        strange.type, strange.linkname = kind, str(tmp_path / "outside")
        tape.addfile(strange)
        within = tarfile.TarInfo("images/a.jpg")
        within.size = 1
        tape.addfile(within, io.BytesIO(b"a"))
    server.body = body.getvalue()
    fetch_archives([Archive(server.address("images.tar.gz"))], tmp_path / "pets")
    assert files(tmp_path / "pets") == {"images/a.jpg": b"a"} and not list((tmp_path / "outside").iterdir())
    assert (tmp_path / "pets" / "images").is_dir() and not (tmp_path / "pets" / "images").is_symlink()


def test_a_zips_link_is_a_file_that_says_where(server: Server, tmp_path: Path) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as content:
        link = zipfile.ZipInfo("a.jpg")
        link.external_attr = 0o120777 << 16
        content.writestr(link, "/etc/passwd")
    server.body = body.getvalue()
    fetch_archives([Archive(server.address("a.zip"))], tmp_path / "coco")
    assert files(tmp_path / "coco") == {"a.jpg": b"/etc/passwd"} and not (tmp_path / "coco" / "a.jpg").is_symlink()


def test_an_empty_folder_in_the_place_is_no_obstacle(server: Server, tmp_path: Path) -> None:
    server.body = zipped({"a": b"1"})
    (tmp_path / "coco").mkdir()
    fetch_archives([Archive(server.address("a.zip"))], tmp_path / "coco")
    assert files(tmp_path / "coco") == {"a": b"1"}


def test_an_address_that_cannot_be_reached_says_so_at_once(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"http://127.0.0.1:9/a.zip: "):
        fetch_archives([Archive("http://127.0.0.1:9/a.zip")], tmp_path / "coco")


@pytest.mark.parametrize("harm", ["inside", "cut short", "another thing", "nothing"])
@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_damaged_archive_is_said_in_a_line_and_fetched_again(
    server: Server, tmp_path: Path, name: str, harm: str
) -> None:
    content = random.Random(0).randbytes(20_000)
    whole = (zipped if name == "a.zip" else taped)({"a.bin": content})
    harmed = {"inside": whole[:2000] + b"\xff" * 99 + whole[2099:], "cut short": whole[:9000]}
    server.body = harmed.get(harm, b"<html>moved</html>" if harm == "another thing" else b"")
    with pytest.raises(OSError, match=rf"^{name} is damaged: .*; it was removed, try again$"):
        fetch_archives([Archive(server.address(name))], tmp_path / "coco")
    server.body = whole
    fetch_archives([Archive(server.address(name))], tmp_path / "coco")
    assert files(tmp_path / "coco") == {"a.bin": content}


def test_two_at_once_download_once(server: Server, tmp_path: Path) -> None:
    server.body = zipped({"val/a.bin": CONTENT})
    with ThreadPoolExecutor(4) as threads:
        wanted = [Archive(server.address("val.zip"))]
        for done in [threads.submit(fetch_archives, wanted, tmp_path / "coco") for _ in range(4)]:
            done.result()
    assert server.asked == [None] and files(tmp_path / "coco") == {"val/a.bin": CONTENT}
