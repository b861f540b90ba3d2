"""The live report: served to this machine only, and made anew when records change."""

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from analysis import serve
from analysis.serve import HOST, Page
from seg.cli import UserError
from study.store import Store
from study.store.records import State


@pytest.fixture
def served(study: Path) -> Iterator[tuple[Page, str]]:
    page = Page([str(study)])
    page.renew()
    server = ThreadingHTTPServer((HOST, 0), serve.handler(page))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield page, f"http://{HOST}:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def get(address: str, **headers: str) -> str:
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
        return str(answer.read().decode())


def test_the_page_is_the_report_and_knows_its_version(served: tuple[Page, str]) -> None:
    page, address = served
    content = get(f"{address}/")

    assert "Trial 9 of the search leads" in content
    assert page.version == get(f"{address}/version") and f'shown = "{page.version}"' in content
    assert "connect-src 'self'" in content


def test_a_new_record_makes_a_new_page_and_an_old_one_none(
    served: tuple[Page, str], change: Callable[..., None]
) -> None:
    page, address = served
    before, content = page.version, page.content
    page.renew()
    assert page.version == before and page.content is content

    change(11, state=State.FAILED, reason="training loss is nan")
    page.renew()
    assert page.version != before and "training loss is nan" in get(f"{address}/")


def test_other_paths_and_other_names_of_this_machine_are_refused(served: tuple[Page, str]) -> None:
    _, address = served
    for path, headers, status in (("/etc/passwd", {}, 404), ("/", {"Host": "evil.example:80"}, 403)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{address}{path}", **headers)
        assert refused.value.code == status


def test_a_study_that_cannot_be_read_for_a_while_leaves_the_page(study: Path) -> None:
    page = Page([str(study)])
    page.renew()
    (study / "study.json").rename(study / "away.json")
    with pytest.raises(UserError):
        page.renew()
    assert b"Trial 9" in page.read()[0]


def test_a_store_that_fails_while_the_page_is_built_leaves_it(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page([str(study)])
    page.renew()
    page._state = ""

    names = Store.names

    def fail(store: Store, folder: str) -> list[str]:
        if folder == "trials":
            return names(store, folder)
        raise EndpointConnectionError(endpoint_url="http://s3")

    monkeypatch.setattr(Store, "names", fail)
    with pytest.raises(UserError, match="cannot be used"):
        page.renew()
    assert b"Trial 9" in page.read()[0]


def test_no_study_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.main([str(tmp_path / "nowhere")]) == 2
    assert "no study here" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(
    served: tuple[Page, str], study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = served[1].rpartition(":")[2]
    assert serve.main([str(study), "--port", port]) == 2
    assert f"--port {port}: cannot be listened on" in capsys.readouterr().err
    assert serve.main([str(study), "--port", "99999"]) == 2
    assert "--port 99999: cannot be listened on" in capsys.readouterr().err


def test_the_default_port_gives_way_to_another(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page([str(study)])
    with ThreadingHTTPServer((HOST, 0), serve.handler(page)) as first:
        monkeypatch.setattr(serve, "PORT", first.server_port)
        with serve._listen(first.server_port, page) as second:
            assert second.server_port != first.server_port
