"""The report: what it says, and that it is one file that asks nobody for anything."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from analysis import report
from analysis.report import __main__ as report_command
from analysis.report.views import duration
from analysis.scores.labels import explain, label
from study.store import Store

PICTURES = [("b", "worst", 0.25), ("a", "median", 1.0)]


def html_of(*studies: Path) -> str:
    place = report.write_report([str(study) for study in studies], str(studies[0] / "report.html"))
    return Path(place).read_text()


def without_scripts(html: str) -> str:
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def test_it_is_one_file_that_loads_nothing(study: Path) -> None:
    html = html_of(study)
    assert len(html.encode()) < 8_000_000
    own = without_scripts(html)
    assert not re.findall(r"""(?:src|href|action|srcset)\s*=\s*["'](?!data:|#)""", own)
    assert "url(" not in own and "@import" not in own and "http://" not in own and "https://" not in own
    assert "<script src" not in html and html.count("plotly.js v") == 1
    assert "default-src 'none'" in html


def test_it_lies_in_the_study_by_default(study: Path) -> None:
    assert report.write_report([str(study)]) == str(study / "report.html")
    assert (study / "report.html").is_file()


def test_a_study_in_an_object_store_gets_its_report_there(study: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(study), "/bucket/small", recursive=True)
    assert report.write_report(["memory://bucket/small"]) == "memory://bucket/small/report.html"
    assert memory.exists("/bucket/small/report.html")


def test_it_says_what_a_reader_must_know(study: Path) -> None:
    text = without_scripts(html_of(study))
    wanted = (
        "Synthetic data.",
        "Trial 9 of the search leads: mobilenetv2_skip trained with dice_bce.",
        "val IoU 0.6500 at epoch 4 of 4",
        "6 train · 4 val · 2 test",
        "not finished",
        "training loss is nan in epoch 1",
        f"python -m study.replay {study} 9",
    )
    assert [part for part in wanted if part not in text] == []
    assert text.count("<img ") == 2


def test_names_and_tracebacks_are_escaped(study: Path) -> None:
    html = html_of(study)
    assert "R1 model 1 &lt;frozen&gt;" in html and "Diverged: &lt;nan&gt;" in html
    assert "<frozen>" not in html and "<nan>" not in html


def test_figures_in_the_page_are_strict_json(study: Path) -> None:
    found = re.findall(r'<script type="application/json" data-plot="plot-1-(\w+)">(.*?)</script>', html_of(study), re.S)
    drawn = {name: json.loads(text) for name, text in found}
    names = (
        "history history_by_time learning_curves parallel_coordinates importance slices loss_by_freezing radar "
        "image_scores"
    )
    assert list(drawn) == names.split()
    assert all(figure["data"] for figure in drawn.values())


def test_the_leaderboard_marks_the_best_and_the_published(study: Path) -> None:
    board = html_of(study).split("<h2>Leaderboard")[1].split("</table>")[0]
    rows = re.findall(r"<tr class.*?</tr>", board, re.S)
    assert len(rows) == 12
    assert [i for i, row in enumerate(rows) if "published</span>" in row] == [8, 9]
    (best,) = [row for row in rows if 'class="best"' in row]
    assert ">9<" in best and "0.6500" in best and "0.6000" in best
    assert 'title="TP / (TP + FP + FN)' in board


def test_a_long_leaderboard_unfolds(study: Path) -> None:
    for trial in range(20, 40):
        shutil.copytree(study / "trials" / "00008", study / "trials" / f"{trial:05d}")
        path = study / "trials" / f"{trial:05d}" / "record.json"
        path.write_text(path.read_text().replace('"trial": 8', f'"trial": {trial}'))
    text = html_of(study)
    assert "all 32 trials" in text
    first = text.split("<h2>Leaderboard")[1].split("</table>")[0]
    assert first.count("<tr class") == 17 and first.count("published</span>") == 2


def test_published_figures_stand_beside_ours(study: Path) -> None:
    block = html_of(study).split("Published scores and ours")[1].split("</div>")[0]
    assert "<h3>R1 model 1 &lt;frozen&gt;</h3>" in block
    assert re.findall(r"<td.*?>(.*?)</td>", block) == ["test IoU", "0.5", "0.6000", "+0.1000", "0.6100", "2"]


def test_what_differs_from_the_publication_is_said(study: Path) -> None:
    assert "Differs: synthetic images; generated; epoch 4 of 4, chosen on validation images." in html_of(study)


def test_a_study_of_several_classes_names_them(pets: Path) -> None:
    text = without_scripts(html_of(pets))
    wanted = (
        "The hardest class is border, val IoU 0.3000.",
        "<td>test IoU, border</td>",
        "every score of trial 1",
        "smp:<wbr>DeepLabV3Plus:<wbr>efficientnet-b0",
        "Tversky α",
    )
    assert [part for part in wanted if part not in text] == []
    assert "Synthetic data." not in text


def test_figures_of_classes_are_drawn_where_they_were_kept(pets: Path) -> None:
    found = re.findall(r'data-plot="plot-1-(\w+)"', html_of(pets))
    drawn = ["radar", "class_iou", "confusion", "class_frequencies", "finalist_scores", "image_scores"]
    assert found[-len(drawn) :] == drawn


def test_pictures_of_several_classes_have_a_legend_and_the_lowest_a_note(pets: Path) -> None:
    store = Store(str(pets))
    Image.new("RGB", (30, 10)).save(pets / "b.png")
    store.write("gallery/b.png", (pets / "b.png").read_bytes())
    images = [{"file": "b.png", "id": image, "rank": rank, "iou": iou} for image, rank, iou in PICTURES]
    store.write_json("gallery/gallery.json", {"trial": 1, "id": "x", "split": "val", "images": images})
    gallery = html_of(pets).split("Predictions of trial 1")[1]
    assert gallery.count("■") == 2 and 'style="color:#E69F00">■</span>border' in gallery
    assert gallery.count("The lowest IoU of 2 validation images: pet 20.0% of the image, predicted 30.0%") == 1


def test_two_classes_need_no_legend_of_colours(study: Path) -> None:
    assert "■</span>lesion" not in html_of(study)


def test_several_studies_share_one_drawing_library(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "both.html"
    assert report_command.main([str(study), str(study), "--out", str(out)]) == 0
    html = out.read_text()
    assert html.count("<h1>small") == 2 and html.count("plotly.js v") == 1 and "<h1>2 studies</h1>" in html


def test_a_study_that_has_just_begun_has_a_report(begun: Path) -> None:
    text = without_scripts(html_of(begun))
    assert "No trial has begun yet." in text and "Leaderboard" in text


def test_a_study_of_which_nothing_finished_has_a_report(study: Path, change: Callable[..., None]) -> None:
    for trial in range(12):
        change(trial, state="RUNNING", finished="", test=None)
    assert "No trial has finished yet." in html_of(study)


def test_no_study_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report_command.main([str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path}: no study here") and error.count("\n") == 1


def test_a_place_that_cannot_be_written_is_one_line_and_exit_2(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert report_command.main([str(study), "--out", str(tmp_path / "file" / "report.html")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


LABELS = [("val_iou", "val IoU"), ("test_native_soft_dice", "test native soft Dice"), ("encoder_lr", "encoder_lr")]
OF_CLASSES = [("val_iou_class2", "val IoU, border"), ("test_native_iou_class9", "test native IoU, class 9")]


@pytest.mark.parametrize(("name", "text"), LABELS)
def test_columns_as_people_read_them(name: str, text: str) -> None:
    assert label(name) == text


@pytest.mark.parametrize(("name", "text"), [*OF_CLASSES, ("val_class_accuracy", "val class accuracy")])
def test_columns_of_a_class_have_its_name(name: str, text: str) -> None:
    assert label(name, ["background", "pet", "border"]) == text


def test_how_a_score_is_measured() -> None:
    assert "masks' own size" in explain("test_native_iou") and "TP" in explain("test_native_iou")
    assert explain("encoder_lr") == ""


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (90, "2 min"), (7380, "2 h 03 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
