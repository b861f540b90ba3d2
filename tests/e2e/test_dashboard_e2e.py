"""Ray's dashboard can run code: only this machine reaches it, and only who has the token is let in."""

import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, ::1 and the first as an address of IPv6, as Linux writes them."""
LISTENING = "0A"


@pytest.fixture(scope="module")
def dashboard(ray_address: str) -> str:
    """host:port of the Ray that all these tests share; study.run starts its own with the same options."""
    import ray

    assert ray.worker.global_worker.node is not None, ray_address
    return str(ray.worker.global_worker.node.webui_url)


def status(address: str, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def token() -> str:
    """As README says to get it."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("path", ["api/version", "api/jobs/"])
def test_it_answers_only_who_has_the_token(dashboard: str, path: str) -> None:
    address = f"http://{dashboard}/{path}"
    assert status(address, {}) == 401
    assert status(address, {"Authorization": "Bearer of-another-cluster"}) == 403
    assert status(address, {"Authorization": f"Bearer {token()}"}) == 200


def listeners(port: int) -> set[str]:
    """Addresses, in hexadecimal, on which anyone listens to this port."""
    tables = [Path("/proc/net") / name for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables if table.exists() for line in table.read_text().splitlines()[1:]]
    local = [row[1].split(":") for row in rows if row[3] == LISTENING]
    return {address for address, number in local if int(number, 16) == port}


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="only Linux lists who listens")
def test_it_listens_on_this_machine_only(dashboard: str) -> None:
    host, _, port = dashboard.rpartition(":")
    assert host == "127.0.0.1" and re.fullmatch(r"\d+", port)
    assert listeners(int(port)) and listeners(int(port)) <= LOOPBACK
