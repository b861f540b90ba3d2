"""AWS as moto plays it: nothing here can reach the real one."""

from collections.abc import Iterator

import moto
import pytest
from ray.autoscaler._private import providers
from ray.autoscaler._private.aws import config as ray_aws
from ray.autoscaler._private.aws import node_provider, utils
from ray_schema import load


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A fresh account; Ray writes its SSH key into a home of the tests' own."""
    fake = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_EC2_METADATA_DISABLED": "true"}
    with pytest.MonkeyPatch.context() as patch, moto.mock_aws():
        for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in fake.items():
            patch.setenv(name, value)
        patch.setenv("AWS_DEFAULT_REGION", load("gpu.yaml")["provider"]["region"])
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield
    # What Ray has learned of an account, it keeps for the life of the process.
    providers._clear_provider_cache()
    for remembered in (
        utils.resource_cache,
        utils.client_cache,
        node_provider.list_ec2_instances,
        ray_aws._get_subnets_or_die,
    ):
        getattr(remembered, "cache_clear", lambda: None)()
