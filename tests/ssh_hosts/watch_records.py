"""Prints what a study's records say, as JSON, whenever it changes: python watch_records.py STUDY

`stored` is the epoch of the newest checkpoint that the storage has of a running trial, 0 where it has none.
"""

import json
import sys
import time

from study.store import Store
from study.store.records import Record, State, read_records, trial_folder
from study.trials.attempt import CHECKPOINT


def stored(store: Store, record: Record) -> int:
    names = store.names(trial_folder(record.trial)) if record.state is State.RUNNING else []
    return max([int(name.split("-")[1]) for name in names if name.startswith(CHECKPOINT)], default=0)


store, last = Store(sys.argv[1]), None
while True:
    trials = [
        {
            "trial": record.trial,
            "state": record.state,
            "epochs": record.epochs,
            "nodes": record.extra.get("nodes", []),
            "stored": stored(store, record),
        }
        for record in read_records(store)
    ]
    if trials != last:
        print(json.dumps(trials), flush=True)
    last = trials
    time.sleep(0.5)
