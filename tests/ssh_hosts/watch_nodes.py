"""Prints the names of a cluster's living nodes, as JSON, whenever they change. Runs on the head."""

import json
import time

import ray

ray.init(address="auto", log_to_driver=False)
last = None
while True:
    seen = sorted(node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"])
    if seen != last:
        print(json.dumps(seen), flush=True)
    last = seen
    time.sleep(0.3)
