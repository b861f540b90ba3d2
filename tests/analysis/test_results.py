"""RESULTS.md from kept records."""

import shutil
from pathlib import Path

import pytest
from debian import not_installed
from generated import written

import analysis.results.__main__ as results
from analysis.report import browser
from study.store import Store
from study.store.records import read_records


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "analysis/results"
    monkeypatch.setattr(results, "HERE", folder)
    monkeypatch.setattr(results, "PAGE", tmp_path / "RESULTS.md")
    (folder / "lesions").mkdir(parents=True)
    (folder / "lesions/learned.md").write_text("# Lesions, a subset\n\nThe encoder decides.\n")
    return folder


@pytest.mark.skipif(not any(map(shutil.which, browser.BROWSERS)), reason=not_installed("chromium"))
def test_a_page_is_made_from_the_records_that_were_kept(here: Path, tmp_path: Path) -> None:
    study = written(tmp_path / "studies/known", [0.8, 0.7], created="2026-01-01T00:00:00+00:00", **ENDED)
    (study / "trials/00000/best.safetensors").write_bytes(b"weights")
    assert results.main(["--keep", str(study), "lesions"]) == 0

    kept = here / "lesions/records/known"
    assert {path.name for path in kept.rglob("*") if path.is_file()} == {
        "study.json", "record.json", "test_counts.parquet", "val_counts.parquet"
    }  # fmt: skip
    assert [record.test for record in read_records(Store(str(kept)))] == [{"iou": 0.8}, {"iou": 0.7}]
    page = (tmp_path / "RESULTS.md").read_text()
    assert "## Lesions, a subset\n\nThe encoder decides.\n" in page
    assert "| known | 0 | 0." in page and page.index("| known | 0 |") < page.index("| known | 1 |")
    assert "5 min from begin to end, 0 min of training on 2 cores (0.0 core-hours)." in page
    drawn = here / "lesions/figures/known"
    assert (drawn / "finalist_scores.png").stat().st_size > 1000 and not list(drawn.glob("*.svg"))
    assert "](analysis/results/lesions/figures/known/finalist_scores.png)" in page
    assert (here / "lesions/known.csv").read_text().startswith("trial,id,state,")

    first = page
    assert results.main([]) == 0
    assert (tmp_path / "RESULTS.md").read_text() == first


def test_what_is_no_study_is_refused(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["--keep", str(tmp_path / "nothing"), "lesions"]) == 2
    assert "nothing: no study here" in capsys.readouterr().err
    assert not (tmp_path / "RESULTS.md").exists()


ENDED = {
    "finished": "2026-01-01T00:05:00+00:00",
    "allotment": {"lanes": 1, "workers": 1, "gpus_per_worker": 0.0, "threads": 2, "one_node": True},
}
