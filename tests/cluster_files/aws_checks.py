"""What neither Ray's schema nor launcher_checks sees in a file for AWS: node types, and what they cost.

`node_config` goes to EC2 as it is, through botocore, which knows every key, type and value of a call.
"""

from collections.abc import Iterator
from typing import Any

import botocore.session
from botocore.model import ListShape, Shape, StructureShape
from botocore.validate import ParamValidator
from launcher_checks import Check, Config

RUN_INSTANCES = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
DISK_GB = 60
"""The software takes 10; the images and their packs come on top."""

INSTEAD = {
    "SubnetId": "Ray reads the list SubnetIds, and without it takes any subnet",
    "MinCount": "Ray sets it",
    "MaxCount": "Ray sets it; max_workers limits a node type",
}


def no_legacy_keys(config: Config) -> Iterator[str]:
    """Ray drops it without a word."""
    if "min_workers" in config:
        yield "min_workers: Ray ignores it here; each of available_node_types has its own"


def node_config_is_what_ec2_takes(config: Config) -> Iterator[str]:
    for name, given in _node_configs(config):
        for key in given.keys() & INSTEAD.keys():
            yield f"{name}.{key}: {INSTEAD[key]}"
        # SubnetIds is Ray's own; MinCount and MaxCount are what it adds.
        sent = {k: v for k, v in given.items() if k not in {*INSTEAD, "SubnetIds"}} | {"MinCount": 1, "MaxCount": 1}
        report = ParamValidator().validate(sent, RUN_INSTANCES)
        for line in report.generate_report().splitlines():
            yield f"{name}: {line}"
        yield from (f"{name}.{problem}" for problem in _wrong_values(sent, RUN_INSTANCES))


def head_trains_nothing(config: Config) -> Iterator[str]:
    name = config["head_node_type"]
    head = config["available_node_types"][name]
    if head["resources"].get("CPU") != 0:
        yield f"available_node_types.{name}.resources: CPU must be 0, or trials run on the head and may end it"
    if "InstanceMarketOptions" in head["node_config"]:
        yield f"available_node_types.{name}.node_config: a head on spot takes the study with it when AWS wants it back"


def workers_cost_nothing_idle(config: Config) -> Iterator[str]:
    for name, node_type in _workers(config):
        if node_type.get("min_workers", 0) != 0:
            yield f"{name}.min_workers: {node_type['min_workers']} machines run, and cost, without a study; say 0"
        if node_type["node_config"].get("InstanceMarketOptions", {}).get("MarketType") != "spot":
            yield f"{name}.node_config: not on spot, InstanceMarketOptions: {{MarketType: spot}}"
        if node_type["resources"].keys() & {"CPU", "GPU", "memory"}:
            yield f"{name}.resources: leave CPU, GPU and memory out; Ray asks AWS what the type has"
    if not 0 < config.get("idle_timeout_minutes", 5) <= 30:
        yield f"idle_timeout_minutes: {config['idle_timeout_minutes']}: idle machines cost long, or end at once; say 5"


def down_leaves_nothing(config: Config) -> Iterator[str]:
    if config["provider"].get("cache_stopped_nodes", True):
        yield "provider.cache_stopped_nodes: must be false, or `ray down` only stops machines, and their disks cost"
    for name, given in _node_configs(config):
        for disk in given.get("BlockDeviceMappings", []):
            if not disk.get("Ebs", {}).get("DeleteOnTermination"):
                where = f"{name}.BlockDeviceMappings: {disk.get('DeviceName')}"
                yield f"{where} stays, and costs; say DeleteOnTermination: true"


def every_type_is_complete(config: Config) -> Iterator[str]:
    """Each of these has a default that does not do: an image of 2018, 8 GB of disk, no access to the bucket."""
    for name, given in _node_configs(config):
        if not given.get("ImageId", "").startswith(("ami-", "resolve:ssm:")):
            yield f"{name}.ImageId: needed, ami-... or resolve:ssm:...; Ray's default is Ubuntu 18.04"
        if not given.get("IamInstanceProfile"):
            yield f"{name}.IamInstanceProfile: needed for the bucket"
        if given.get("MetadataOptions", {}).get("HttpTokens") != "required":
            yield f"{name}.MetadataOptions: HttpTokens must be required: others could read the machine's credentials"
        if sum(disk.get("Ebs", {}).get("VolumeSize", 0) for disk in given.get("BlockDeviceMappings", [])) < DISK_GB:
            yield f"{name}.BlockDeviceMappings: less than {DISK_GB} GB of disk"


def limits_agree(config: Config) -> Iterator[str]:
    total = sum(node_type.get("max_workers", 0) for _, node_type in _workers(config))
    if config.get("max_workers", 2) != total:
        yield f"max_workers: {config.get('max_workers', 2)}, where the node types allow {total} together"


def region_is_one(config: Config) -> Iterator[str]:
    """A machine does not know by itself where its bucket is."""
    region = config["provider"].get("region")
    commands = " ".join(config.get("setup_commands", []))
    if f"AWS_DEFAULT_REGION={region}" not in commands:
        yield f"setup_commands: the environment must have AWS_DEFAULT_REGION={region}, as provider.region"


def _node_configs(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node_type in config["available_node_types"].items():
        yield f"available_node_types.{name}.node_config", node_type["node_config"]


def _workers(config: Config) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, node_type in config["available_node_types"].items():
        if name != config["head_node_type"]:
            yield f"available_node_types.{name}", node_type


def _wrong_values(given: Any, shape: Shape, path: str = "") -> Iterator[str]:
    """Values that are none of those listed in EC2's interface: botocore leaves that to EC2."""
    match shape, given:
        case StructureShape(), dict():
            for key in given.keys() & shape.members.keys():
                yield from _wrong_values(given[key], shape.members[key], f"{path}.{key}".lstrip("."))
        case ListShape(), list():
            for number, item in enumerate(given):
                yield from _wrong_values(item, shape.member, f"{path}[{number}]")
        case _, str() if getattr(shape, "enum", None) and given not in shape.enum:
            near = sorted(value for value in shape.enum if value.split(".")[0] == given.split(".")[0])
            yield f"{path}: {given} is none that EC2 has; for example {', '.join((near or shape.enum)[:6])}"


CHECKS: tuple[Check, ...] = (
    no_legacy_keys,
    node_config_is_what_ec2_takes,
    head_trains_nothing,
    workers_cost_nothing_idle,
    down_leaves_nothing,
    every_type_is_complete,
    limits_agree,
    region_is_one,
)
