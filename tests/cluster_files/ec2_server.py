"""moto's server as a process, with addresses that hosts of ours can have: `ec2_server.py ADDRESS PORT FIRST`.

FIRST is that of the first instance. Prints a line of JSON when an instance is launched, and when one is terminated:
who listens brings the host up or down.
"""

import itertools
import json
import sys
from ipaddress import ip_address
from typing import Any

from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance, InstanceBackend
from moto.ec2.models.subnets import Subnet
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server


class Quiet(WSGIRequestHandler):
    """stdout and stderr are for the events and for what goes wrong."""

    def log_request(self, *_: object) -> None:
        pass


def tell(event: str, instance: Instance) -> None:
    key = instance.ec2_backend.key_pairs.get(instance.key_name)
    said = {
        "event": event,
        "id": instance.id,
        "type": instance.instance_type,
        "address": instance.private_ip,
        "public_key": key.public_key if key else "",
    }
    print(json.dumps(said), flush=True)


def give_addresses(first: str) -> None:
    """In order, whatever the subnet; the public one is the same, as there is one network only."""
    addresses = (str(ip_address(first) + number) for number in itertools.count())

    def next_address(self: Subnet, instance: Instance) -> str:
        return next(addresses)

    def public_address(self: NetworkInterface) -> None:
        self.public_ip = self.private_ip_address if self.public_ip_auto_assign else None

    Subnet.get_available_subnet_ip = next_address  # type: ignore[method-assign]
    NetworkInterface.check_auto_public_ip = public_address  # type: ignore[method-assign]


def tell_what_happens() -> None:
    run, end = InstanceBackend.run_instances, Instance.terminate

    def run_instances(self: InstanceBackend, *arguments: Any, **options: Any) -> Any:
        reservation = run(self, *arguments, **options)
        for instance in reservation.instances:
            tell("launched", instance)
        return reservation

    def terminate(self: Instance) -> Any:
        was = self.state
        # Afterwards it has no address any more.
        if was != "terminated":
            tell("terminated", self)
        return end(self)

    InstanceBackend.run_instances = run_instances  # type: ignore[method-assign]
    Instance.terminate = terminate  # type: ignore[method-assign]


if __name__ == "__main__":
    address, port, first = sys.argv[1:]
    give_addresses(first)
    tell_what_happens()
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server(address, int(port), app, threaded=True, request_handler=Quiet)
    print(json.dumps({"event": "ready"}), flush=True)
    server.serve_forever()
