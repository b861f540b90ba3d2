"""The store of a study: what it keeps, and where."""

from study.store.retries import StoreError
from study.store.store import Store, encode_json

__all__ = ["Store", "StoreError", "encode_json"]
