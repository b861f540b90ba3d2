"""What is wrong with a KubeRay manifest, one line a problem, as far as that can be said without a cluster.

Pods, Secrets and their parts go through Kubernetes' own published schemas, strictly: an unknown key is a problem. Of
KubeRay's two kinds, these are the fields of its API reference (1.6) that a file like ours may have.
"""

import re
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import jsonschema
import kubernetes_validate

KUBERNETES = "1.34"
TEXT, NUMBER, FLAG, MAP = ({"type": name} for name in ("string", "integer", "boolean", "object"))
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": properties}


CLUSTER = _object(
    "headGroupSpec rayVersion",
    rayVersion=TEXT,
    enableInTreeAutoscaling=FLAG,
    suspend=FLAG,
    headServiceAnnotations=TEXTS,
    gcsFaultToleranceOptions=MAP,
    authOptions=_object("mode", mode={"enum": ["token", "disabled"]}, secretName=TEXT),
    autoscalerOptions=_object(
        version={"enum": ["v1", "v2"]},
        idleTimeoutSeconds=NUMBER,
        upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]},
        resources=MAP,
        image=TEXT,
        imagePullPolicy=TEXT,
        env={"type": "array"},
        envFrom={"type": "array"},
        securityContext=MAP,
        volumeMounts={"type": "array"},
    ),
    headGroupSpec=_object(
        "rayStartParams template",
        rayStartParams=TEXTS,
        template=_object("spec", metadata=MAP, spec=MAP),
        serviceType=TEXT,
        headService=MAP,
        enableIngress=FLAG,
        resources=TEXTS,
        labels=TEXTS,
    ),
    workerGroupSpecs={
        "type": "array",
        "items": _object(
            "groupName minReplicas maxReplicas rayStartParams template",
            groupName=TEXT,
            replicas=NUMBER,
            minReplicas=NUMBER,
            maxReplicas=NUMBER,
            numOfHosts=NUMBER,
            idleTimeoutSeconds=NUMBER,
            suspend=FLAG,
            rayStartParams=TEXTS,
            template=_object("spec", metadata=MAP, spec=MAP),
            scaleStrategy=MAP,
            resources=TEXTS,
            labels=TEXTS,
        ),
    },
)
JOB = _object(
    "entrypoint rayClusterSpec",
    entrypoint=TEXT,
    rayClusterSpec=CLUSTER,
    shutdownAfterJobFinishes=FLAG,
    ttlSecondsAfterFinished=NUMBER,
    activeDeadlineSeconds=NUMBER,
    backoffLimit=NUMBER,
    submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]},
    submitterPodTemplate=MAP,
    submitterConfig=MAP,
    runtimeEnvYAML=TEXT,
    entrypointNumCpus={"type": "number"},
    entrypointNumGpus={"type": "number"},
    entrypointResources=TEXT,
    metadata=TEXTS,
    jobId=TEXT,
    suspend=FLAG,
)
KINDS = {"RayCluster": CLUSTER, "RayJob": JOB}


def problems(documents: list[dict[str, Any]]) -> list[str]:
    """The schemas' or, where they have none, our own."""
    if found := [problem for document in documents for problem in _schema(document)]:
        return found
    ours = [problem for spec in _clusters(documents) for problem in _cluster(spec)]
    return ours + list(_secrets_are_there(documents))


def _schema(document: dict[str, Any]) -> Iterator[str]:
    kind = document.get("kind", "")
    if document.get("apiVersion") != "ray.io/v1":
        yield from _kubernetes(kind, document)
        return
    if kind not in KINDS:
        yield f"kind: {kind}; KubeRay has {', '.join(KINDS)}"
        return
    for error in jsonschema.Draft202012Validator(KINDS[kind]).iter_errors(document.get("spec")):
        yield f"{kind}.spec{error.json_path.removeprefix('$')}: {error.message.splitlines()[0]}"
    for name, template in _pods(_cluster_spec(document)):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": template.get("metadata", {}), "spec": template["spec"]}
        yield from _kubernetes(f"{kind}.{name}", pod)


def _kubernetes(name: str, document: dict[str, Any]) -> Iterator[str]:
    try:
        kubernetes_validate.validate(document, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{name}.{'.'.join(map(str, error.path))}: {error.message.splitlines()[0]}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"{name}: no such kind in {document.get('apiVersion')}"


def _cluster(spec: dict[str, Any]) -> Iterator[str]:
    if spec["rayVersion"] != version("ray"):
        yield f"rayVersion: {spec['rayVersion']}; constraints.txt has {version('ray')}"
    if spec.get("authOptions", {}).get("mode") != "token":
        yield "authOptions: mode must be token, or whoever reaches the pods runs what they like"
    if spec.get("enableInTreeAutoscaling"):
        yield "enableInTreeAutoscaling: must be left out: a study does not see what it might add, and asks for nothing"
    if spec["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield 'headGroupSpec.rayStartParams: num-cpus must be "0", or trials run on the head and may end it'
    if len({container["image"] for _, container in _containers(spec)}) != 1:
        yield "image: head and workers must have the same"
    for name, container in _containers(spec):
        yield from (f"{name}.{problem}" for problem in _container(container))
    for group in spec.get("workerGroupSpecs", []):
        if len({group.get("replicas"), group["minReplicas"], group["maxReplicas"]}) > 1 or not group["minReplicas"]:
            yield f"{group['groupName']}: replicas, minReplicas and maxReplicas must be the same, 1 or more"


def _container(container: dict[str, Any]) -> Iterator[str]:
    if container["image"].endswith(":latest") or not re.search(r":[\w.-]+$", container["image"]):
        yield f"image: {container['image']} is another one tomorrow; name a version"
    if not any("secretRef" in source for source in container.get("envFrom", [])):
        yield "envFrom: no secretRef, so no access to the storage"
    if {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} not in container.get("env", []):
        yield "env: RAY_USAGE_STATS_ENABLED must be 0, or Ray reports to its makers"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}):
        yield "resources: without limits.memory Ray takes the node's memory for its own"


def _secrets_are_there(documents: list[dict[str, Any]]) -> Iterator[str]:
    made = {document["metadata"]["name"] for document in documents if document["kind"] == "Secret"}
    for spec in _clusters(documents):
        for name, container in _containers(spec):
            for source in container.get("envFrom", []):
                if (wanted := source.get("secretRef", {}).get("name")) not in made:
                    yield f"{name}.envFrom: no Secret {wanted} in this file"


def _clusters(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [_cluster_spec(document) for document in documents if document["kind"] in KINDS]


def _cluster_spec(document: dict[str, Any]) -> dict[str, Any]:
    spec = document["spec"]
    return dict(spec.get("rayClusterSpec", {}) if document["kind"] == "RayJob" else spec)


def _pods(spec: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "spec" in spec.get("headGroupSpec", {}).get("template", {}):
        yield "head", spec["headGroupSpec"]["template"]
    for group in spec.get("workerGroupSpecs", []):
        if "spec" in group.get("template", {}):
            yield str(group.get("groupName")), group["template"]


def _containers(spec: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(name, container) for name, template in _pods(spec) for container in template["spec"]["containers"]]
