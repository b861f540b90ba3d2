"""Tell Ray when AWS is about to take this spot machine back, which AWS announces two minutes before.

    python -m study.spot_notice         as clusters/gpu.yaml starts it

It runs beside Ray. After the notice, Ray gives the node no more work, and a study's lanes there give back their trials
once their epoch ends. The machine's shutdown would be too late: it ends Ray, and the workers can send nothing more.
"""

import http.client
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime

from seg import cli
from seg.cli import ArgumentParser
from seg.errors import UserError

SERVICE = "http://169.254.169.254"
"""The address of a machine's own metadata, unless AWS_EC2_METADATA_SERVICE_ENDPOINT gives another."""
TOKEN_SECONDS = 21600
POLL_SECONDS = 5.0
"""Seconds between two polls, as AWS recommends."""
ANSWER_SECONDS = 2.0
MAX_SILENT_CALLS = 12
"""The number of polls without an answer, from the first one on, after which this is not a machine of AWS."""
DRAIN_SECONDS = 30.0
"""Seconds after which an attempt to tell Ray is given up and repeated."""
AGAIN_SECONDS = 2.0


class NotOnAws(UserError):
    """The machine's metadata service does not answer."""


class Metadata:
    """The metadata of this machine, by IMDSv2 (EC2 User Guide, "Use the Instance Metadata Service")."""

    def __init__(self, service: str):
        self._latest = f"{service.rstrip('/')}/latest"
        self._token = ""

    def notice(self) -> datetime | None:
        """Return when AWS takes the machine back; None if it does not. Raises URLError if there is no answer."""
        try:
            said = self._get("meta-data/spot/instance-action")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            self._token = ""  # it may have expired
            raise
        when = datetime.fromisoformat(json.loads(said)["time"])
        return when if when.tzinfo else when.replace(tzinfo=UTC)

    def _get(self, path: str) -> str:
        if not self._token:
            lasting = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
            self._token = self._answer(urllib.request.Request(f"{self._latest}/api/token", b"", lasting, method="PUT"))
        token = {"X-aws-ec2-metadata-token": self._token}
        return self._answer(urllib.request.Request(f"{self._latest}/{path}", headers=token))

    @staticmethod
    def _answer(request: urllib.request.Request) -> str:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would answer about itself
        with direct.open(request, timeout=ANSWER_SECONDS) as answer:
            return str(answer.read().decode())


def wait_for_notice(metadata: Metadata, sleep: Callable[[float], None] = time.sleep) -> datetime:
    """Wait until AWS says when it takes the machine back, and return that time.

    Raises NotOnAws if there has never been an answer in MAX_SILENT_CALLS polls.
    """
    answered, silent = False, 0
    while answered or silent < MAX_SILENT_CALLS:
        try:
            if when := metadata.notice():
                return when
            answered = True
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            silent += 1
        sleep(POLL_SECONDS)
    raise NotOnAws("no metadata of this machine; is it one of AWS?")


def drain(when: datetime) -> list[str]:
    """Return the command that makes Ray give up the node on which the command runs, by `when`."""
    left = max(int((when - datetime.now(UTC)).total_seconds()), 1)
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", f"taken back at {when:%H:%M:%S}"]
    return ["ray", "drain-node", *reason, "--deadline-remaining-seconds", str(left)]


def tell_ray(when: datetime) -> bool:
    """Tell Ray again and again until it accepts, or the machine is gone. Return whether Ray has accepted."""
    while datetime.now(UTC) < when:
        try:
            subprocess.run(drain(when), check=True, timeout=DRAIN_SECONDS)
            return True
        except (OSError, subprocess.SubprocessError) as error:
            print(f"Ray did not take the notice: {error}; trying again", flush=True)
        time.sleep(AGAIN_SECONDS)
    return False


def parser() -> ArgumentParser:
    return ArgumentParser("study.spot_notice", "Tell Ray when AWS takes this spot machine back.", "")


def main(arguments: list[str] | None = None) -> int:
    parser().parse_args(arguments)
    return cli.status_of(_await)


def _await() -> int:
    when = wait_for_notice(Metadata(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or SERVICE))
    print(f"AWS takes this machine back at {when}", flush=True)
    return cli.OK if tell_ray(when) else cli.FAILED


if __name__ == "__main__":
    sys.exit(main())
