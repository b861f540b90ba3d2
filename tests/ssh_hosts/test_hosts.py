"""The hosts themselves: apart from this machine and from the world, gone at once, and without a trace."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosts import Hosts
from namespaced_host import PROJECT

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("namespaces")]

SSH = ("ssh", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR")
ABANDONED = """
import sys, time
from hosts import Hosts
hosts = Hosts(count=1)
print(hosts[0].init, hosts.launcher.init, hosts.folder, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_hosts_reach_each_other_and_nothing_else() -> None:
    with Hosts(count=2) as hosts:
        assert hosts.launcher.check(*SSH, hosts[1].address, "hostname") == "host2\n"
        assert len(hosts[0].check("ip", "route").splitlines()) == 1, "more than the bridge's own subnet"
        assert "default" not in hosts.launcher.check("ip", "-6", "route")
        assert hosts[0].run("bash", "-c", ": </dev/tcp/192.0.2.1/80", seconds=5).returncode != 0


def test_what_is_private_and_what_is_not() -> None:
    with Hosts(count=2) as hosts:
        for place in ("/tmp", "/root", "/dev/shm", "/var/tmp"):
            hosts[0].check("touch", f"{place}/mine")
            assert not Path(f"{place}/mine").exists()
            assert hosts[1].run("test", "-e", f"{place}/mine").returncode != 0
        assert hosts[0].run("touch", str(PROJECT / "mine")).returncode != 0
        assert "sshd" in hosts[0].check("ps", "-p", "1", "-o", "comm=")
        assert hosts[0].check("python", "-c", "import seg, sys; print(sys.prefix)", folder=PROJECT) == f"{sys.prefix}\n"


def test_a_host_that_is_killed_ends_with_all_that_runs_there() -> None:
    with Hosts(count=1) as hosts:
        child = hosts[0].popen("sh", "-c", "echo there && sleep 600")
        assert child.stdout and child.stdout.readline() == "there\n"
        assert any("echo there" in line for line in hosts[0].processes().values())
        hosts[0].kill()
        assert child.returncode is not None and not hosts[0].processes()
        assert hosts.launcher.run(*SSH, "-o", "ConnectTimeout=1", hosts[0].address, "true").returncode != 0


def test_nothing_is_left_where_the_tests_are_killed() -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT / "tests")}
    with subprocess.Popen(
        [sys.executable, "-c", ABANDONED], stdout=subprocess.PIPE, text=True, env=environment
    ) as tests:
        assert tests.stdout
        *inits, folder = tests.stdout.readline().split()
        assert all(alive(int(pid)) for pid in inits)
        os.kill(tests.pid, signal.SIGKILL)
    end = time.monotonic() + 5
    while any(alive(int(pid)) for pid in inits):
        assert time.monotonic() < end
        time.sleep(0.05)
    shutil.rmtree(folder)
