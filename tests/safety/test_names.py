"""No name, of a study, a file, a trial or an image, leads out of its folder."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from readers import READERS

from analysis.report import __main__ as report_command
from seg.data.folder import load as load_folder
from study import replay, run
from study.store import Store
from study.store.names import LONGEST, file_part, is_file_name, is_study_name, study_name
from study.store.records import FormatError, read_records


@pytest.mark.parametrize("name", ["a", "isic-20260101-120000", "A.b_c-9", "-x", "a" * LONGEST])
def test_names_of_studies(name: str) -> None:
    assert is_study_name(name) and is_file_name(name) and study_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".a", "a b", "a/b", "../a", "a\\b", "a\n", "a\0", "ä", "a:b", "a" * (LONGEST + 1), "a*", "~"],
)
def test_no_names_of_studies(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert not is_study_name(name)
    assert run.main(["phantom", "--name", name, "--storage", str(tmp_path / "s"), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --name ") and error.count("\n") == 1 and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stem", ["my spec (1)", "../up", ".hidden", "ä" * 300, "a" * 300])
def test_a_specs_file_may_be_called_anything(stem: str) -> None:
    assert is_study_name(study_name(f"{stem}-20260101-120000"))


ELSEWHERE = ["../evil", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "a\n", "a\0b", 7, None]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_names_of_files(name: object) -> None:
    assert not is_file_name(name)


def change(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("file", ELSEWHERE)
def test_a_record_that_names_a_file_elsewhere_is_refused(
    study: Path, file: object, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    change(study / "trials/00001/record.json", files={"val_counts": file})
    with pytest.raises(FormatError, match=r"trials/00001/record.json: names a file outside its folder"):
        read_records(Store(str(study)))
    READERS_OF_1 = READERS | {"study.replay": lambda study, out: replay.main([study, "1"])}
    for command in set(READERS) - {"seg.predict"}:
        assert READERS_OF_1[command](str(study), tmp_path) == 2, command
        error = capsys.readouterr().err
        assert "names a file outside its folder" in error and error.count("\n") == 1


@pytest.mark.parametrize("trial", ["../../evil", 2, "1", 1.0, True, None, -1])
def test_a_record_of_another_trial_is_refused(study: Path, trial: object) -> None:
    change(study / "trials/00001/record.json", trial=trial)
    with pytest.raises(FormatError, match=r"trials/00001/record.json: says it is of trial"):
        read_records(Store(str(study)))


@pytest.mark.parametrize(
    "content",
    [b"[]", b"7", b"{}", b"\xff", b'{"format": 1}', b'{"format": 1, "state": "x"}', b'{"format": 1, "files": 7}'],
)
def test_what_is_no_record_is_refused(study: Path, content: bytes) -> None:
    (study / "trials/00001/record.json").write_bytes(content)
    with pytest.raises(FormatError, match=r"trials/00001/record.json: .*; (restore|read)"):
        read_records(Store(str(study)))


@pytest.mark.parametrize("file", ["../study.json", "/etc/passwd", "..", "a\\b", 7])
def test_a_gallery_that_names_a_file_elsewhere_is_refused(
    study: Path, file: object, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = json.loads((study / "gallery/gallery.json").read_text())
    listed["images"][0]["file"] = file
    (study / "gallery/gallery.json").write_text(json.dumps(listed))
    assert report_command.main([str(study)]) == 2
    error = capsys.readouterr().err
    assert "gallery.json: names a file outside its folder" in error and error.count("\n") == 1
    assert not (study / "report.html").exists()


@pytest.mark.parametrize("id", ["../../evil", "a/b", "a\\b", "<script>", "a b", "x" * 300, "ä"])
def test_an_images_id_makes_a_plain_file_in_the_gallery(id: str) -> None:
    assert is_file_name(f"00001-worst-0-{file_part(id)}.png")
    assert len(f"00001-worst-0-{file_part(id)}.png") < 200


def test_an_id_in_splits_csv_leads_nowhere(tmp_path: Path) -> None:
    from seg.data.sample import DataError

    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for name in "abcd":
            Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "data" / kind / f"{name}.png")
    (tmp_path / "data" / "splits.csv").write_text("id,split\n../masks/a,train\n")
    with pytest.raises(DataError, match=r"line 2: '../masks/a' is no image in images/"):
        load_folder(tmp_path / "data")
