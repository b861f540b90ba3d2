"""One study on S3, killed six times at seeded random moments, beside the same study left alone: equal in the end."""

import random
from typing import Any

import pytest
from chaos import KINDS, Chaos, check_whole, compare
from own_specs import SEARCHED
from s3_server import BUCKET, S3Server

from study.store import Store
from study.store.records import read_records

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TRIALS, EPOCHS = 6, 8
STUDY = (SEARCHED, "--image-size", 64, "--trials", TRIALS, "--epochs", EPOCHS, "--lanes", 1)
ONE_MODEL = ("--set", "search.model=[mobilenetv2_skip]")
LONG_ENOUGH = {
    "asha": ("--set", "early_stopping.min_epochs=4"),
    "promoting_asha": ("--set", "early_stopping={scheduler: promoting_asha, min_epochs: 2, reduction_factor: 2}"),
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("scheduler", LONG_ENOUGH)
def test_a_study_that_is_killed_again_and_again_is_what_it_would_have_been(
    s3_server: S3Server, shell: Any, scheduler: str
) -> None:
    """Where trials pause, a kill may hit while one is paused, or its last checkpoint is on its way."""
    dice = random.Random(11)
    # The server goes last: while it is away, the study gets on unseen, and might end before it is killed again.
    kills = sorted(dice.sample(KINDS, len(KINDS)), key=lambda kind: kind == "store")
    assert {"worker", "lane", "driver", "store"} == set(kills) and len(kills) >= 6
    calm, killed = (Store(f"s3://{BUCKET}/{name}-{scheduler}", 120.0) for name in ("calm", "killed"))
    arguments = [*STUDY, *ONE_MODEL, *LONG_ENOUGH[scheduler]]
    Chaos(calm, s3_server, arguments, shell.address).run([], dice)
    chaos = Chaos(killed, s3_server, arguments, shell.address)
    chaos.run(kills, dice)
    assert len(chaos.log) == len(kills)
    check_whole(calm, TRIALS)
    check_whole(killed, TRIALS)
    # On one lane the search knows at every proposal what it would have known: every trial is the same.
    assert compare(calm, killed) == TRIALS
    assert [r.state for r in read_records(calm)] == [r.state for r in read_records(killed)]
