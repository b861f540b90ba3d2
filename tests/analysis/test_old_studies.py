"""Studies that earlier versions wrote stay readable: small ones are kept in tests/assets/studies, without weights."""

from pathlib import Path

import pandas as pd
import pytest

from analysis import load, table
from analysis.report import __main__ as report_command
from study import ls
from study.store import Store
from study.store.records import read_records

STUDIES = sorted((Path(__file__).parents[1] / "assets" / "studies").iterdir())


@pytest.fixture(params=STUDIES, ids=lambda path: path.name)
def old(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_record_has_all_that_it_had(old: str) -> None:
    records = read_records(Store(old))
    assert [record.trial for record in records] == [0, 1, 2, 3]
    assert {str(record.state) for record in records} == {"COMPLETE", "PRUNED", "FAILED"}
    for record in records:
        assert [row["epoch"] for row in record.epochs] == list(range(1, len(record.epochs) + 1))
        if record.epochs:
            counts = load.counts(old, record.trial)
            assert counts is not None and counts["id"].nunique() == 59 and (counts["tp"] >= 0).all()
            assert load.confusion(old, record.trial) is not None
    assert any(record.test for record in records)


def test_every_command_reads_them(old: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ls.main([old]) == 0
    assert "4 trials (" in capsys.readouterr().out
    assert table.main([old, "--format", "csv"]) in (0, None)
    assert len(capsys.readouterr().out.strip().splitlines()) == 5
    assert report_command.main([old, "--out", str(tmp_path / "report.html")]) in (0, None)
    assert (tmp_path / "report.html").stat().st_size > 100_000


def test_scores_follow_from_the_counts_that_were_kept(old: str) -> None:
    for record in read_records(Store(old)):
        counts = load.counts(old, record.trial)
        if counts is None:
            continue
        lesion: pd.DataFrame = counts[counts["class"] == 1]
        union = lesion["tp"] + lesion["fp"] + lesion["fn"]
        iou = (lesion["tp"] / union).where(union > 0, 1.0).mean()
        assert iou == pytest.approx(record.best["val_iou"], abs=1e-9)
