"""AWS's metadata service as an HTTP server of our own: what it says, Ray is told."""

import json
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from study import spot_notice
from study.spot_notice import Metadata, NotOnAws, drain, tell_ray, wait_for_notice

WHEN = datetime(2026, 11, 21, 8, 22, tzinfo=UTC)
NOTICE = json.dumps({"action": "terminate", "time": "2026-11-21T08:22:00Z"})


class Service(ThreadingHTTPServer):
    """IMDSv2: a token by PUT, then answers to those that bring it."""

    def __init__(self, answers: list[tuple[int, str]]):
        super().__init__(("127.0.0.1", 0), Answers)
        self.answers, self.tokens = answers, 0


class Answers(BaseHTTPRequestHandler):
    server: Service

    def do_PUT(self) -> None:
        known = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.server.tokens += 1
        self._say(200 if known else 400, f"token {self.server.tokens}")

    def do_GET(self) -> None:
        assert self.path == "/latest/meta-data/spot/instance-action"
        if self.headers["X-aws-ec2-metadata-token"] != f"token {self.server.tokens}":
            self._say(401, "")
        else:
            self._say(*self.server.answers.pop(0))

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    """Twice there is nothing, then it fails in three ways, then there is notice."""
    with Service([(404, ""), (404, ""), (500, ""), (200, "soon"), (200, "{}"), (200, NOTICE)]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def address(service: Service) -> str:
    return f"http://127.0.0.1:{service.server_port}"


def test_it_waits_until_there_is_notice(service: Service) -> None:
    waits: list[float] = []
    assert wait_for_notice(Metadata(address(service)), waits.append) == WHEN
    assert waits == [spot_notice.POLL_SECONDS] * 5 and service.answers == []


def test_a_token_that_is_over_is_renewed(service: Service) -> None:
    metadata = Metadata(address(service))
    assert metadata.notice() is None
    service.tokens += 1
    assert wait_for_notice(metadata, lambda seconds: None) == WHEN


def test_a_proxy_is_not_asked(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert Metadata(address(service)).notice() is None


def test_elsewhere_it_ends(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9")
    waits: list[float] = []
    with pytest.raises(NotOnAws):
        wait_for_notice(Metadata("http://127.0.0.1:9"), waits.append)
    assert len(waits) == spot_notice.MAX_SILENT_CALLS
    monkeypatch.setattr(spot_notice, "MAX_SILENT_CALLS", 0)
    assert spot_notice.main([]) == 2
    assert "is it one of AWS?" in capsys.readouterr().err


def test_where_it_has_once_been_answered_it_never_ends() -> None:
    class Failing(Metadata):
        answers = [None, *[OSError("timed out")] * 3 * spot_notice.MAX_SILENT_CALLS, WHEN]  # noqa: RUF012 # of one test

        def notice(self) -> datetime | None:
            answer = self.answers.pop(0)
            if isinstance(answer, OSError):
                raise answer
            return answer

    assert wait_for_notice(Failing(""), lambda seconds: None) == WHEN


def test_ray_is_told_until_it_has_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    def ray(command: list[str], check: bool, timeout: float) -> None:
        told.append(int(command[-1]))
        if len(told) < 3:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(spot_notice.subprocess, "run", ray)
    monkeypatch.setattr(spot_notice, "AGAIN_SECONDS", 1.1)
    assert tell_ray(datetime.now(UTC) + timedelta(seconds=100))
    assert told == sorted(told, reverse=True) and told[0] - told[2] >= 2
    assert not tell_ray(datetime.now(UTC) - timedelta(seconds=1))


def test_from_the_notice_to_ray(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    soon = drain(datetime.now(UTC) + timedelta(seconds=115.5))
    assert soon[:2] == ["ray", "drain-node"] and soon[-1] in ("114", "115")
    told: list[list[str]] = []
    monkeypatch.setattr(spot_notice.subprocess, "run", lambda command, check, timeout: told.append(command))
    monkeypatch.setattr(spot_notice, "POLL_SECONDS", 0.01)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", address(service))
    later = datetime.now(UTC) + timedelta(seconds=120)
    service.answers[-1] = (200, json.dumps({"action": "terminate", "time": f"{later:%Y-%m-%dT%H:%M:%SZ}"}))
    assert spot_notice.main([]) == 0
    assert f"taken back at {later:%H:%M:%S}" in told[0] and 100 < int(told[0][-1]) <= 120
