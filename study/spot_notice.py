"""Beside Ray on a spot machine of AWS: what AWS says two minutes before it takes the machine back, Ray is told.

    python -m study.spot_notice --address HEAD:6379         as clusters/gpu.yaml starts it

Ray then gives the node no more work, and a study's lanes there give back their trials between two epochs: not one epoch
is trained twice. The machine's own end is too late for that: it ends Ray before a worker can send much.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime

SERVICE = "http://169.254.169.254"
"""Of a machine's own metadata, or what AWS_EC2_METADATA_SERVICE_ENDPOINT says."""
TOKEN_SECONDS = 21600
POLL_SECONDS = 5.0
"""As AWS recommends."""
ANSWER_SECONDS = 2.0
MOST_SILENT = 12
"""Polls in a row without an answer, after which this is no machine of AWS."""


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
        return datetime.fromisoformat(json.loads(said)["time"])

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
    """When AWS takes the machine back, once it says so. NotOnAws where nobody answers for a minute."""
    silent = 0
    while silent < MOST_SILENT:
        try:
            if when := metadata.notice():
                return when
            silent = 0
        except (OSError, ValueError):
            silent += 1
        sleep(POLL_SECONDS)
    raise NotOnAws(f"no metadata of this machine for {MOST_SILENT * POLL_SECONDS:.0f} s; is it one of AWS?")


def drain(address: str, when: datetime) -> list[str]:
    """The command by which Ray gives this node up by then."""
    left = max(int((when - datetime.now(UTC)).total_seconds()), 1)
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", f"AWS takes it back at {when:%H:%M:%S}"]
    return ["ray", "drain-node", "--address", address, *reason, "--deadline-remaining-seconds", str(left)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="study.spot_notice", description=__doc__.partition("\n")[0])
    parser.add_argument("--address", required=True, help="of Ray's head, HOST:PORT")
    given = parser.parse_args(arguments)
    try:
        when = wait_for_notice(Metadata(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or SERVICE))
    except NotOnAws as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"AWS takes this machine back at {when}", flush=True)
    return subprocess.run(drain(given.address, when), check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
