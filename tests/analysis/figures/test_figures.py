"""Figures by their traces: what is drawn, how it is distinguished, what the pointer shows."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from generated import trials as random_trials
from generated import written

from analysis import figures, load, ranking
from analysis.figures import theme
from analysis.figures.importance import ABSENT, axes, round_numbers
from analysis.finalists import sealed, standings
from study.store import Store

OF_TRIALS = (
    figures.history,
    figures.history_by_time,
    figures.parallel_coordinates,
    figures.importance,
    figures.radar,
    figures.class_iou,
    figures.pareto,
    figures.timeline,
    figures.choice_effects,
    figures.loss_by_freezing,
)
PUBLISHED = ["R1 model 1 <frozen> (published)", "R3 experiment 2 (published)"]


@pytest.fixture
def trials(study: Path) -> pd.DataFrame:
    return load.trials(str(study))


def named(figure: go.Figure) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.showlegend is not False}


def test_baselines_have_a_name_and_a_symbol_of_their_own_everywhere(study: Path, trials: pd.DataFrame) -> None:
    drawn = [figures.history(trials), figures.parallel_coordinates(trials), figures.radar(trials)]
    for figure in [*drawn, figures.learning_curves(load.epochs(str(study)))]:
        traces = named(figure)
        assert set(PUBLISHED) <= set(traces)
        colours = [traces[name].marker.color for name in [*PUBLISHED, "best: trial 9"]]
        assert colours == [theme.BASELINES[0][0], theme.BASELINES[1][0], theme.VERMILION]


def test_history_shows_every_scored_trial_once(trials: pd.DataFrame) -> None:
    line, *points = figures.history(trials).data
    assert line.name == "best so far" and list(line.y) == sorted(line.y)
    assert sorted(x for trace in points for x in trace.x) == list(range(1, 10))
    assert len(named(figures.history(trials))["stopped early"].x) == 2


def test_hover_tells_trial_score_and_configuration(trials: pd.DataFrame) -> None:
    (text,) = named(figures.history(trials))["best: trial 9"].hovertemplate
    for part in ("trial 9", "complete", "val IoU 0.6500", "model mobilenetv2_skip", "loss_dice_weight 1"):
        assert part in text
    (text,) = named(figures.history(trials))[PUBLISHED[0]].hovertemplate
    assert "&lt;frozen&gt;" in text


def test_learning_curves_draw_the_best_last_and_the_stopped_in_grey(study: Path) -> None:
    figure = figures.learning_curves(load.epochs(str(study)))
    assert len(figure.data) == 10
    assert figure.data[-1].name == "best: trial 9" and figure.data[-1].line.width > 3
    stopped = [trace for trace in figure.data if trace.name == "stopped early"]
    assert {trace.line.color for trace in stopped} == {theme.GREY} and len(stopped) == 2
    assert sum(trace.showlegend for trace in stopped) == 1
    assert named(figure)["running"].line.dash == "dot"


def test_parallel_coordinates_give_every_trial_a_place_on_every_axis(trials: pd.DataFrame) -> None:
    figure = figures.parallel_coordinates(trials)
    assert len(figure.data) == 10
    names = [note.text for note in figure.layout.annotations if note.name != "tick"]
    assert [name.strip("</b>") for name in names][-1] == "val IoU" and len(names) == 7
    assert all(len(trace.y) == 7 and not pd.isna(list(trace.y)).any() for trace in figure.data)


def test_axes_are_logarithmic_for_rates_and_name_choices(trials: pd.DataFrame) -> None:
    scored = trials[trials["val_iou"].notna()]
    found = {axis.name: axis for axis in axes(scored)}
    assert [text for _, text in found["model"].ticks] == ["mobilenetv2_plain", "mobilenetv2_skip"]
    assert [text for _, text in found["encoder_freeze"].ticks] == ["no", "yes"]
    texts = [text for _, text in found["encoder_lr"].ticks]
    assert texts[0] == "none" and {"1e-5", "1e-4"} <= set(texts)
    frozen = scored["encoder_freeze"].astype(bool)
    assert (found["encoder_lr"].places[frozen] == ABSENT).all()
    assert found["encoder_lr"].places[~frozen].between(0, 1).all()
    assert found["val_iou"].places.min() == 0 and found["val_iou"].places.max() == 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.41, 0.79), (16, 48), (1e-4, 2.5e-4), (0.69, 0.71)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    ticks = round_numbers(low, high)
    assert 3 <= len(ticks) <= 11 and low <= ticks[0] and ticks[-1] <= high
    assert all(len(f"{tick:.12g}".strip("0.").replace("e-0", "")) <= 4 for tick in ticks)


def test_importance_warns_in_the_figure(trials: pd.DataFrame) -> None:
    figure = figures.importance(trials)
    assert "a hint" in figure.layout.title.text
    assert sum(figure.data[0].x) == pytest.approx(1)


def test_image_scores_count_every_image(study: Path) -> None:
    counts = load.counts(str(study), 9)
    assert counts is not None
    figure = figures.image_scores(counts)
    assert len(figure.data[0].x) == 4
    assert {note.text for note in figure.layout.annotations} == {"mean 0.438", "median 0.375"}


def test_confusion_writes_shares_and_shows_pixels(pets: Path) -> None:
    table = load.confusion(str(pets), 1)
    assert table is not None
    figure = figures.confusion(table)
    written = {(note.y, note.x): note.text for note in figure.layout.annotations}
    assert written[("border", "background")] == "100%" and ("border", "pet") not in written
    assert written[("pet", "pet")] == "83%" and len(written) == 5
    assert list(figure.data[0].customdata) == table["pixels"].tolist()
    assert figure.layout.yaxis.autorange == "reversed"


def test_class_iou_has_the_best_as_bars_and_the_published_as_symbols(pets: Path) -> None:
    traces = {trace.name: trace for trace in figures.class_iou(load.trials(str(pets))).data}
    assert traces["best: trial 1"].type == "bar" and traces["R4 U-Net (published)"].type == "scatter"
    assert list(traces["R4 U-Net (published)"].y) == ["background", "pet", "border"]
    assert list(traces["R4 U-Net (published)"].x) == [0.9, 0.6, 0.2]


def test_class_frequencies_show_what_is_drawn_only_where_it_differs(pets: Path) -> None:
    as_they_are = figures.class_frequencies(load.class_shares(str(pets), 0))
    assert [list(trace.x) for trace in as_they_are.data] == [[0.7, 0.28, 0.02], [1.0, 1.0, 0.5]]
    drawn = figures.class_frequencies(load.class_shares(str(pets), 1))
    assert [trace.name for trace in drawn.data] == ["as they are", "as drawn"] * 2
    assert list(drawn.data[1].text) == ["68%", "29%", "3.0%"]


def test_an_objective_of_one_class_is_called_by_its_name(pets: Path) -> None:
    info = Store(str(pets)).read_json("study.json")
    info["spec"]["objective"]["metric"] = "val_iou_class2"
    Store(str(pets)).write_json("study.json", info)
    trials = load.trials(str(pets))
    assert figures.history(trials).layout.yaxis.title.text == "val IoU, border"
    assert figures.learning_curves(load.epochs(str(pets))).layout.yaxis.title.text == "val IoU, border"
    titles = [note.text for note in figures.parallel_coordinates(trials).layout.annotations if note.name != "tick"]
    assert titles[-1] == "<b>val IoU, border</b>"


def test_long_names_break_where_they_have_joints(pets: Path) -> None:
    notes = figures.parallel_coordinates(load.trials(str(pets))).layout.annotations
    assert {"smp:<br>DeepLabV3Plus:<br>efficientnet-b0", "unet"} <= {note.text for note in notes}


def test_classes_have_the_colours_of_the_pictures() -> None:
    from seg.picture import COLOURS

    assert [f"#{r:02X}{g:02X}{b:02X}" for r, g, b in COLOURS[1:]] == list(theme.CLASSES)


@pytest.mark.parametrize("draw", OF_TRIALS, ids=lambda draw: draw.__name__)
def test_no_trial_and_a_single_one_of_any_state_can_be_drawn(
    trials: pd.DataFrame, draw: Callable[[pd.DataFrame], go.Figure]
) -> None:
    draw(trials.head(0))
    for place in range(len(trials)):
        draw(trials.iloc[[place]])


def test_learning_curves_of_nothing_can_be_drawn(begun: Path) -> None:
    assert len(figures.learning_curves(load.epochs(str(begun))).data) == 0


def test_a_table_read_from_csv_can_be_drawn(trials: pd.DataFrame, tmp_path: Path) -> None:
    trials.to_csv(tmp_path / "trials.csv", index=False)
    for draw in OF_TRIALS:
        draw(pd.read_csv(tmp_path / "trials.csv"))


def test_what_costs_less_and_is_as_good_is_on_the_front() -> None:
    """Costs 1 to 4; the third is beaten by the second, which is cheaper and better."""
    table = random_trials(0, 4).assign(val_iou=[0.5, 0.7, 0.6, 0.8], train_seconds=[1.0, 2.0, 3.0, 4.0])
    table = table.assign(gpu_seconds=0.0, params_trainable=10, params_frozen=0)

    found = ranking.costs(table)
    assert found["train_seconds_efficient"].tolist() == [True, True, False, True]
    assert "gpu_seconds" not in found and "params_total" not in found
    dominated, front = figures.pareto(table).data
    assert list(dominated.ids) == ["2"] and list(front.ids) == ["0", "1", "3"]
    assert list(front.x) == [1.0, 2.0, 4.0] and dominated.marker.color == theme.GREY


def test_only_those_whose_latency_is_known_compete_in_it() -> None:
    """The third is the best, and of an older version; of the two others one is slower and worse."""
    table = random_trials(0, 3).assign(val_iou=[0.5, 0.7, 0.9], train_seconds=1.0, gpu_seconds=[1.0, 2.0, 3.0])
    table = table.assign(params_trainable=10, params_frozen=0, latency_ms=[8.0, 6.0, None], cost=[0.1, 0.2, 0.3])

    found = ranking.costs(table)
    assert found["latency_ms_efficient"].tolist() == [False, True, False]
    assert found["cost_efficient"].tolist() == [True, True, True] and "gpu_seconds" not in found
    figure = figures.pareto(table)
    assert [list(trace.ids) for trace in figure.data] == [[], ["0", "1", "2"], ["0"], ["1"]]
    assert [axis.title.text for axis in figure.select_xaxes()] == ["cost of training (usd)", "latency of an image (ms)"]


def test_of_equals_none_beats_the_other_and_less_may_be_better() -> None:
    table = random_trials(0, 3).assign(val_iou=[0.5, 0.5, 0.4], train_seconds=[1.0, 2.0, 3.0])
    table = table.assign(gpu_seconds=0.0, params_trainable=10, params_frozen=0)
    table.attrs["study"]["spec"]["objective"] = {"metric": "val_iou", "mode": "min"}

    assert ranking.costs(table)["train_seconds_efficient"].tolist() == [True, False, True]
    same = table.assign(train_seconds=[1.0, 1.0, 3.0], val_iou=[0.5, 0.5, 0.6])
    assert ranking.costs(same)["train_seconds_efficient"].tolist() == [True, True, False]


def test_the_timeline_has_a_bar_a_trial_on_its_lane(trials: pd.DataFrame) -> None:
    ran = trials[trials["finished"] != ""].assign(lane=[f"small-lane-{trial % 2}" for trial in range(11)])
    ran.attrs = trials.attrs

    (bars,) = figures.timeline(ran).data
    assert list(bars.ids) == [str(trial) for trial in range(11)]
    assert list(bars.base) == pytest.approx([float(trial) for trial in range(11)])
    assert list(bars.x) == pytest.approx([50 / 60] * 11)
    assert list(bars.y)[:2] == ["lane 0", "lane 1"]


def test_effects_are_drawn_over_the_trials_and_grey_where_chance_made_them() -> None:
    table = random_trials(1, model=lambda model: 0.04 * (model == "skip"))
    figure = figures.choice_effects(table)

    raw, levels = figure.data[:2]
    assert len(raw.ids) == 60 and list(levels.x) == ["deep", "plain", "skip"]
    assert levels.marker.color == theme.BLUE and figure.layout.annotations[0].text == "<b>model</b>"
    grey = [trace for trace in figure.data[2:] if trace.mode == "markers" and trace.error_y.array is not None]
    assert {trace.marker.color for trace in grey} == {theme.GREY}


def test_losses_are_set_beside_freezing(trials: pd.DataFrame) -> None:
    fine_tuned, frozen = figures.loss_by_freezing(trials).data
    assert (fine_tuned.name, frozen.name) == ("fine-tuned", "frozen")
    finished = trials[trials["state"] == "COMPLETE"]
    assert len(fine_tuned.y) + len(frozen.y) == len(finished)


def test_finalists_spread_image_by_image(tmp_path: Path) -> None:
    found = sealed.finalists([str(written(tmp_path / "a", [0.7, 0.85]))])
    best, other = figures.finalist_scores(standings.image_scores(found)).data

    assert (best.name, other.name) == ("trial 1", "trial 0")
    assert sum(best.x) / len(best.x) > sum(other.x) / len(other.x)


def test_of_many_trials_some_are_drawn_the_best_among_them() -> None:
    table = random_trials(0, 1000)
    drawn = ranking.downsample(table)

    assert 190 <= len(drawn) <= 210
    assert set(ranking.ranked(table).head(100)["trial"]) <= set(drawn["trial"])
    assert len(figures.parallel_coordinates(table).data) == len(drawn)
    assert ranking.downsample(table.head(200)).equals(table.head(200))


def test_seeds_stand_beside_the_interval_over_images(tmp_path: Path) -> None:
    found = sealed.finalists([str(written(tmp_path / "a", [0.8, 0.7, 0.82], repeats={2: 0}))])
    scores = standings.seed_scores(found)
    again, searched = figures.seed_scores(scores).data

    assert list(searched.ids) == ["0", "1"] and list(again.ids) == ["2"]
    assert list(again.y) == pytest.approx([0.1]) and list(searched.y) == pytest.approx([-0.1, 1.0])
    assert searched.marker.symbol == "circle"
    assert searched.x[0] + searched.error_x.array[0] == pytest.approx(scores["high"][0])


def test_every_two_choices_are_a_panel_of_the_score_and_the_trials() -> None:
    table = random_trials(0, 80, decoder_lr=lambda value: -0.05 * (math.log10(value) + 2.5) ** 2)
    surface, points = figures.contour(table, "encoder_lr", "decoder_lr").data
    assert surface.type == "contour" and len(surface.x) == len(surface.y) == 15
    assert np.asarray(surface.z).max() < table["val_iou"].max() + 0.05
    having = table[table["encoder_lr"].notna()]
    assert list(points.ids) == [str(trial) for trial in having["trial"]]
    assert list(points.y) == having["decoder_lr"].tolist()
    names = figures.contour(table, "model", "oversample").data[0]
    assert names.type == "heatmap" and list(names.x) == ["deep", "plain", "skip"]
    assert len(figures.contours(table).data) == 2 * 5, "of six pairs: only one loss has the parameter"
    assert len(figures.contour(table.head(5), "model", "oversample").data) == 0


def test_slices_show_every_searched_trial_by_each_of_its_choices(trials: pd.DataFrame) -> None:
    figure = figures.slices(trials)
    searched = trials[(trials["source"] == "search") & trials["val_iou"].notna()]
    by_title = dict(zip([note.text for note in figure.layout.annotations], figure.data, strict=True))
    assert {"model", "decoder_lr", "encoder_lr"} <= set(by_title)
    assert list(by_title["decoder_lr"].ids) == [str(trial) for trial in searched["trial"]]
    having = searched[searched["encoder_lr"].notna()]
    assert list(by_title["encoder_lr"].y) == having["val_iou"].tolist()
    assert len(by_title["encoder_lr"].marker.color) == len(having)


def test_rungs_are_drawn_where_trials_may_be_stopped(study: Path) -> None:
    epochs = load.epochs(str(study))
    assert ranking.rungs(epochs) == [] and not figures.learning_curves(epochs).layout.shapes
    spec = epochs.attrs["study"]["spec"]
    spec |= {"epochs": 20, "early_stopping": {"scheduler": "asha", "min_epochs": 2, "reduction_factor": 3}}
    assert ranking.rungs(epochs) == [2, 6, 18]
    assert [shape.x0 for shape in figures.learning_curves(epochs).layout.shapes] == [2, 6, 18]
    spec["early_stopping"]["scheduler"] = "none"
    assert ranking.rungs(epochs) == []


def test_of_many_trials_the_pointer_shows_no_configuration() -> None:
    few, many = random_trials(0, 200), random_trials(0, 201)
    for table, told in ((few, True), (many, False)):
        hovers = [hover for trace in figures.history(table).data[1:] for hover in trace.hovertemplate]
        assert len(hovers) == len(table) and all(("decoder_lr" in hover) == told for hover in hovers)
        assert all("<b>trial " in hover and "val IoU" in hover for hover in hovers)
