"""Prints what a study's records say, as JSON, whenever it changes: python watch_records.py STUDY"""

import json
import sys
import time

from study.records import read_records
from study.store import Store

store, last = Store(sys.argv[1]), None
while True:
    trials = [
        {"trial": record.trial, "state": record.state, "epochs": record.epochs, "nodes": record.extra.get("nodes", [])}
        for record in read_records(store)
    ]
    if trials != last:
        print(json.dumps(trials), flush=True)
    last = trials
    time.sleep(0.3)
