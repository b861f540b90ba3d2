"""gpu.yaml starts the machines that it describes, in an account that has what aws-access.yaml makes. moto plays AWS."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import pytest
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler.tags import NODE_KIND_HEAD, NODE_KIND_WORKER, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE
from ray_schema import PROJECT, load

TEMPLATE = PROJECT / "clusters" / "aws-access.yaml"
BUCKET = "a-bucket-of-studies"


@pytest.fixture(scope="module")
def account(aws: None) -> None:
    """With the stack of aws-access.yaml."""
    boto3.client("cloudformation").create_stack(
        StackName="segstudy",
        TemplateBody=TEMPLATE.read_text(),
        Parameters=[{"ParameterKey": "Bucket", "ParameterValue": BUCKET}],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )


@pytest.fixture(scope="module")
def cluster(account: None) -> dict[str, Any]:
    """gpu.yaml with all that Ray fills in."""
    return dict(_bootstrap_config(load("gpu.yaml"), no_config_cache=True))


def launch(cluster: dict[str, Any], node_type: str) -> dict[str, Any]:
    """The instance, as EC2 describes it."""
    provider = _get_node_provider(cluster["provider"], cluster["cluster_name"])
    kind = NODE_KIND_HEAD if node_type == cluster["head_node_type"] else NODE_KIND_WORKER
    tags = {TAG_RAY_NODE_KIND: kind, TAG_RAY_USER_NODE_TYPE: node_type}
    ids = list(provider.create_node(cluster["available_node_types"][node_type]["node_config"], tags, 1))
    described = boto3.client("ec2").describe_instances(InstanceIds=ids)["Reservations"]
    (instance,) = [instance for reservation in described for instance in reservation["Instances"]]
    return dict(instance)


def test_the_stack_is_what_cloudformation_takes() -> None:
    lint = Path(sys.executable).parent / "cfn-lint"
    done = subprocess.run([lint, TEMPLATE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def rights(profile: str) -> list[dict[str, Any]]:
    """Statements of the policies of an instance profile's role."""
    iam = boto3.client("iam")
    (role,) = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    assert iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"] == []
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    versions = [iam.get_policy_version(PolicyArn=policy["PolicyArn"], VersionId="v1") for policy in attached]
    return [statement for version in versions for statement in version["PolicyVersion"]["Document"]["Statement"]]


@pytest.mark.usefixtures("account")
def test_workers_use_the_bucket_and_nothing_else() -> None:
    statements = rights("segstudy-worker")
    assert {statement["Resource"] for statement in statements} == {f"arn:aws:s3:::{BUCKET}", f"arn:aws:s3:::{BUCKET}/*"}
    assert all(action.startswith("s3:") for statement in statements for action in statement["Action"])


@pytest.mark.usefixtures("account")
def test_the_head_uses_the_bucket_and_hands_workers_their_profile() -> None:
    statements = rights("segstudy-head")
    worker = boto3.client("iam").get_role(RoleName="segstudy-worker")["Role"]["Arn"]
    assert [s["Resource"] for s in statements if s["Action"] == "iam:PassRole"] == [worker]
    assert f"arn:aws:s3:::{BUCKET}/*" in [s["Resource"] for s in statements]


@pytest.mark.parametrize(("node_type", "cpus", "gpus"), [("head", 0, 0), ("gpu-1", 4, 1), ("gpu-4", 48, 4)])
def test_resources_of_the_node_types(cluster: dict[str, Any], node_type: str, cpus: int, gpus: int) -> None:
    resources = cluster["available_node_types"][node_type]["resources"]
    assert (resources["CPU"], resources.get("GPU", 0)) == (cpus, gpus)
    assert ("accelerator_type:L4" in resources) == (gpus > 0)


def test_the_head_is_on_demand(cluster: dict[str, Any]) -> None:
    instance = launch(cluster, "head")
    assert instance["InstanceType"] == "m7i.xlarge"
    assert "InstanceLifecycle" not in instance
    assert instance["IamInstanceProfile"]["Arn"].endswith("/segstudy-head")
    assert instance["MetadataOptions"]["HttpTokens"] == "required"


@pytest.mark.parametrize(("node_type", "instance_type"), [("gpu-1", "g6.xlarge"), ("gpu-4", "g6.12xlarge")])
def test_workers_are_on_spot(cluster: dict[str, Any], node_type: str, instance_type: str) -> None:
    instance = launch(cluster, node_type)
    assert (instance["InstanceType"], instance["InstanceLifecycle"]) == (instance_type, "spot")
    assert instance["IamInstanceProfile"]["Arn"].endswith("/segstudy-worker")


def test_disks_end_with_their_machine(cluster: dict[str, Any]) -> None:
    instance = launch(cluster, "gpu-1")
    (disk,) = instance["BlockDeviceMappings"]
    (volume,) = boto3.client("ec2").describe_volumes(VolumeIds=[disk["Ebs"]["VolumeId"]])["Volumes"]
    assert (volume["Size"], volume["VolumeType"]) == (150, "gp3")
    provider = _get_node_provider(cluster["provider"], cluster["cluster_name"])
    provider.non_terminated_nodes({})
    provider.terminate_nodes([instance["InstanceId"]])
    assert instance["InstanceId"] not in provider.non_terminated_nodes({})
    assert volume["VolumeId"] not in [left["VolumeId"] for left in boto3.client("ec2").describe_volumes()["Volumes"]]


def test_only_ssh_is_open(cluster: dict[str, Any]) -> None:
    """From outside; among themselves the machines talk freely."""
    node_configs = [node_type["node_config"] for node_type in cluster["available_node_types"].values()]
    groups = {group for node_config in node_configs for group in node_config["SecurityGroupIds"]}
    (group,) = boto3.client("ec2").describe_security_groups(GroupIds=sorted(groups))["SecurityGroups"]
    outside = [rule for rule in group["IpPermissions"] if rule["IpRanges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in outside] == [(22, 22)]
    inside = [rule for rule in group["IpPermissions"] if rule["UserIdGroupPairs"]]
    assert [pair["GroupId"] for rule in inside for pair in rule["UserIdGroupPairs"]] == [group["GroupId"]]


def test_no_role_is_made_behind_the_users_back(cluster: dict[str, Any]) -> None:
    """Ray's own, which it makes where a file names none, may do anything with EC2 and every bucket."""
    names = {role["RoleName"] for role in boto3.client("iam").list_roles()["Roles"]}
    assert names == {"segstudy-head", "segstudy-worker"}
    assert "AmazonS3FullAccess" not in json.dumps(cluster)
