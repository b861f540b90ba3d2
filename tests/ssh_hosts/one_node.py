"""Whether one process counts on the validation images what a trial's ranks counted, with the trial's weights.

python one_node.py STUDY prints JSON: `nodes` of the trial, `images`, and whether their counts are the `same`.
"""

import json
import sys

import torch

from seg import pack, predict
from seg.device import pixels
from seg.evaluate import evaluate
from seg.ranks import Ranks
from study.store import Store, counts
from study.store.records import read_records, read_study

CPU = torch.device("cpu")

store = Store(sys.argv[1])
(record,) = read_records(store)
predictor = predict.from_bytes(store.read(record.path("best")), CPU)
key = read_study(store)["dataset"]["pack"]
(folder,) = pack.default_root().glob(f"*-{key}")
packed = pack.open_pack(folder)
val = pixels.load(packed, "val", CPU)
alone = evaluate(predictor.model, val, predictor.experiment, packed.classes, Ranks(), CPU).counts
ids, together = counts.from_table(counts.from_parquet(store.read(record.path("val_counts"))))
same = ids == val.ids and torch.equal(alone.hard, together.hard)
print(json.dumps({"nodes": record.extra["nodes"], "images": len(ids), "same": same}))
