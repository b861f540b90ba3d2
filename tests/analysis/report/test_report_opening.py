"""What the report begins with: the verdict, what it is held against, and whose the baselines are."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from generated import written

from analysis import figures, load, published, ranking
from analysis.report.opening import Mark, Verdict, verdict
from analysis.report.page import build
from study.store import Store


def of(study: Path) -> Verdict:
    opened = load.open_study(str(study))
    trials = load.trials(opened)
    leader = ranking.best(trials)
    counts = None if leader is None else load.counts(opened, int(leader["trial"]))
    return verdict(opened.info, ranking.results(trials), counts)


def page(study: Path) -> str:
    return re.sub(r"<(script|style).*?</\1>", "", build([load.open_study(str(study))]), flags=re.DOTALL)


def given(study: Path, **changed: Any) -> None:
    """Into the study's verdict."""
    info = Store(str(study)).read_json("study.json")
    Store(str(study)).write_json("study.json", info | {"verdict": info["verdict"] | changed})


def test_it_is_the_studys_own(judged: Path) -> None:
    found = of(judged)
    assert found.trial == 0 and found.final and not found.doubtful
    assert found.headline.startswith("The choice is the recipe: test IoU 0.710")
    assert found.sentences[0].startswith("Without any training: 0.440")
    assert found.sentences[-1] == "Trial 9 has the best val IoU, 0.6500."
    assert found.warnings == ["only 4 validation images: which trial is best is largely luck; add images"]


def test_its_marks_are_of_the_same_images(judged: Path) -> None:
    """The choice with its interval, then what it is held against, best first, and no training last."""
    found = of(judged)
    assert found.metric == "test IoU" and found.where == "the 2 sealed test images, at their own size"
    assert found.marks == [
        Mark("the recipe, trial 0", "shown", 0.71, 0.655, 0.752),
        Mark("R3 experiment 2 (published)", "published", 0.61),
        Mark("trial 9, the best in validation", "search", 0.61),
        Mark("mine (own baseline)", "own", 0.51),
        Mark("no training: the mean training mask", "untrained", 0.44),
    ]


def test_a_choice_that_was_not_scored_is_held_against_validation_scores(judged: Path) -> None:
    info = Store(str(judged)).read_json("study.json")
    kept = {name: info["verdict"][name] for name in ("trial", "recipe", "reason", "warnings")}
    said = ["The choice is the recipe: it leads. It was not scored on test images."]
    Store(str(judged)).write_json("study.json", info | {"verdict": kept | {"sentences": said}})
    found = of(judged)
    assert found.headline == said[0] and found.metric == "val IoU" and found.marks[-1].score == 0.42


def test_a_choice_no_better_than_no_training_is_doubtful(judged: Path) -> None:
    given(judged, over_trivial={"value": 0.01, "low": -0.02, "high": 0.04, "error": 0.01})
    assert of(judged).doubtful and 'class="card verdict doubtful"' in page(judged)


def test_one_of_before_the_study_went_on_says_so(judged: Path) -> None:
    info = Store(str(judged)).read_json("study.json")
    Store(str(judged)).write_json("study.json", info | {"finished": ""})
    assert of(judged).warnings[-1].startswith("this is the verdict before the study went on")


def test_before_it_the_best_stands_beside_what_no_training_gives(own: Path) -> None:
    """The interval of four images holds the 0.42: no significant difference."""
    found = of(own)
    assert found.trial == 9 and not found.final and found.doubtful and found.warnings == []
    assert found.headline == "Trial 9 of the search leads: mobilenetv2_skip trained with dice_bce."
    assert "Without any training: val IoU 0.4200 (the mean training mask), 0.2300 less." in found.sentences
    assert found.where == "the 4 validation images, at training size"
    assert [(mark.name, mark.kind, round(mark.score, 2)) for mark in found.marks] == [
        ("trial 9", "shown", 0.65),
        ("mine (own baseline)", "own", 0.44),
        ("R3 experiment 2 (published)", "published", 0.41),
        ("the recipe", "recipe", 0.38),
        ("no training: the mean training mask", "untrained", 0.42),
    ]


def test_an_older_study_has_no_line_of_no_training(study: Path) -> None:
    found = of(study)
    assert not any("Without any training" in sentence for sentence in found.sentences)
    assert [mark.kind for mark in found.marks] == ["shown", "published", "published"]
    assert not found.doubtful


def test_an_objective_that_is_a_loss_has_marks_of_iou(own: Path) -> None:
    info = Store(str(own)).read_json("study.json")
    spec = info["spec"] | {"objective": {"metric": "val_loss", "mode": "min"}}
    Store(str(own)).write_json("study.json", info | {"spec": spec})
    found = of(own)
    assert found.metric == "val IoU" and all(0 <= mark.score <= 1 for mark in found.marks)
    assert any("Without any training: val IoU 0.4200" in sentence for sentence in found.sentences)


def test_a_single_trial_beside_nothing_has_no_marks(tmp_path: Path) -> None:
    assert of(written(tmp_path / "one", [0.8])).marks == []


def test_the_page_begins_with_it_then_pictures_then_the_rest(judged: Path) -> None:
    titles = re.findall(r"<h2>(.*?)</h2>", page(judged))
    wanted = ["Predictions of trial 9", "Leaderboard", "The search", "Published scores and ours"]
    assert [title for title in titles if title in wanted] == wanted
    text = page(judged)
    order = ["The choice is the recipe", "no training: the mean training mask", "Synthetic data.", "only 4 validation"]
    places = [text.index(part) for part in [*order, "<h2>"]]
    assert places == sorted(places)


def test_the_page_shows_the_interval_and_every_mark_where_it_belongs(judged: Path) -> None:
    text = page(judged)
    assert 'class="span" style="left: 65.50%; width: 9.70%"' in text and "0.655–0.752" in text
    places = re.findall(r'class="dot" style="left: ([\d.]+)%"', text)
    assert places == ["71.00", "61.00", "61.00", "51.00", "44.00"]


def rows_of_the_leaderboard(study: Path) -> dict[str, str]:
    board = page(study).split("<h2>Leaderboard")[1].split("</table>")[0]
    rows = re.findall(r"<tr class.*?</tr>", board, re.S)
    return {re.findall(r'data-trial="(\d+)"', row)[0]: row for row in rows}


def test_the_leaderboard_says_which_trial_was_chosen(judged: Path) -> None:
    rows = rows_of_the_leaderboard(judged)
    assert [trial for trial, row in rows.items() if ">chosen<" in row] == ["0"]
    assert [trial for trial, row in rows.items() if ">best<" in row] == ["9"]
    assert [trial for trial, row in rows.items() if 'class="best"' in row] == ["0"]


def test_only_baselines_of_a_publication_are_called_published(judged: Path) -> None:
    tags = {trial: re.findall(r'class="tag">(\w+)<', row) for trial, row in rows_of_the_leaderboard(judged).items()}
    assert (tags["0"], tags["1"], tags["2"]) == (["chosen"], ["published"], ["own"])
    text = page(judged)
    assert "recipe (published)" not in text and "mine (published)" not in text


def test_kinds_of_baselines(own: Path, change: Callable[..., None]) -> None:
    trials = load.trials(str(own))
    assert ranking.kinds(trials) == {"recipe": "recipe", "R3 experiment 2": "published", "mine": "own"}
    trials.attrs = {}
    assert set(ranking.kinds(trials).values()) == {"recipe", "own"}


def test_figures_name_baselines_by_whose_they_are(own: Path) -> None:
    named = {trace.name for trace in figures.history(load.trials(str(own))).data}
    assert {"the recipe", "R3 experiment 2 (published)", "mine (own baseline)"} <= named


@pytest.mark.parametrize(
    ("trial", "words"), [(0, "The recipe (trial 0) leads"), (2, "Trial 2, mine (own baseline), leads")]
)
def test_who_leads(own: Path, change: Callable[..., None], trial: int, words: str) -> None:
    for other in range(12):
        if other != trial:
            change(other, state="PRUNED")
    assert of(own).headline.startswith(words)


def test_references_stand_beside_the_choice(judged: Path) -> None:
    info = Store(str(judged)).read_json("study.json")
    Store(str(judged)).write_json("study.json", info | {"dataset": info["dataset"] | {"name": "isic2016"}})
    rows = published.published([str(judged)])
    found = rows[rows["kind"] == "reference"]
    assert set(found["trial"]) == {0} and found["configuration"].iloc[0].startswith("study's choice, trial 0, ")
