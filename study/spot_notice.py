"""Beside Ray on a spot machine of AWS: what AWS says two minutes before it takes the machine back, Ray is told.

    python -m study.spot_notice         as clusters/gpu.yaml starts it

Ray then gives the node no more work, and a study's lanes there give back their trials once their epoch ends. The
machine's own end is too late for that: it ends Ray, and with it the workers, before they can send anything.
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

from study.arguments import ArgumentParser
from study.redact import complain

SERVICE = "http://169.254.169.254"
"""Of a machine's own metadata, or what AWS_EC2_METADATA_SERVICE_ENDPOINT says."""
TOKEN_SECONDS = 21600
POLL_SECONDS = 5.0
"""As AWS recommends."""
ANSWER_SECONDS = 2.0
MOST_SILENT = 12
"""Polls without an answer, from the first one on, after which this is no machine of AWS."""
DRAIN_SECONDS = 30.0
"""After which a try to tell Ray is given up, and made again."""
AGAIN_SECONDS = 2.0


class NotOnAws(Exception):
    """Nobody answers for the machine's metadata."""


class Metadata:
    """Of this machine, by IMDSv2 (EC2 User Guide, "Use the Instance Metadata Service")."""

    def __init__(self, service: str):
        self._latest = f"{service.rstrip('/')}/latest"
        self._token = ""

    def notice(self) -> datetime | None:
        """When AWS takes the machine back; None while it does not. URLError where nobody answers."""
        try:
            said = self._get("meta-data/spot/instance-action")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            self._token = ""  # it may be over
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
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would answer for itself
        with direct.open(request, timeout=ANSWER_SECONDS) as answer:
            return str(answer.read().decode())


def wait_for_notice(metadata: Metadata, sleep: Callable[[float], None] = time.sleep) -> datetime:
    """When AWS takes the machine back, once it says so. NotOnAws where nobody has ever answered, and that for long."""
    answered, silent = False, 0
    while answered or silent < MOST_SILENT:
        try:
            if when := metadata.notice():
                return when
            answered = True
        except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
            silent += 1
        sleep(POLL_SECONDS)
    raise NotOnAws("no metadata of this machine; is it one of AWS?")


def drain(when: datetime) -> list[str]:
    """The command by which Ray gives the node up where it runs, by then."""
    left = max(int((when - datetime.now(UTC)).total_seconds()), 1)
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", f"taken back at {when:%H:%M:%S}"]
    return ["ray", "drain-node", *reason, "--deadline-remaining-seconds", str(left)]


def tell_ray(when: datetime) -> bool:
    """Again and again until Ray has taken it, or the machine is gone; whether Ray has."""
    while datetime.now(UTC) < when:
        try:
            subprocess.run(drain(when), check=True, timeout=DRAIN_SECONDS)
            return True
        except (OSError, subprocess.SubprocessError) as error:
            print(f"Ray was not told: {error}; once more", flush=True)
        time.sleep(AGAIN_SECONDS)
    return False


def main(arguments: list[str] | None = None) -> int:
    parser = ArgumentParser(prog="study.spot_notice", description=__doc__.partition("\n")[0])
    parser.parse_args(arguments)
    try:
        when = wait_for_notice(Metadata(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or SERVICE))
    except NotOnAws as error:
        complain(error)
        return 2
    print(f"AWS takes this machine back at {when}", flush=True)
    return 0 if tell_ray(when) else 1


if __name__ == "__main__":
    sys.exit(main())
