"""Learning curves of a recorded study: the Gaussian process against other implementations, and what it is used for."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from own_specs import SEARCHED
from scipy.stats import multivariate_normal

from seg.experiment import Experiment
from study.search.samplers.plain import Random
from study.search.searcher import Searcher
from study.simulation.recorded import (
    CurvesError,
    Recorded,
    RecordedCurves,
    curves,
    fit,
    load,
    log_likelihood,
    matrix,
    of_study,
    recorded,
    save,
)
from study.spec import Spec, load_spec
from study.store import Store
from study.store.records import Record, State, write_record

EPOCHS = 9


@pytest.fixture
def spec() -> Spec:
    return load_spec(SEARCHED, ["sampler=random", f"epochs={EPOCHS}", "trials=60"])


def experiments(spec: Spec, count: int, first: int = 0) -> list[Experiment]:
    sampler, history = Random(spec), Searcher(spec).history
    return [sampler.propose(number, number, history) for number in range(first, first + count)]


def truth(experiment: Experiment) -> np.ndarray:
    """Higher learning rates learn sooner and reach less."""
    rate = np.log10(experiment.decoder_lr) + 4
    epochs = np.arange(1, EPOCHS + 1)
    return (0.9 - 0.2 * rate) * (1 - np.exp(-epochs / (4 - 1.5 * rate))) - 0.1 * experiment.encoder_freeze


def trials(spec: Spec, count: int = 60, noise: float = 0.005) -> list[Recorded]:
    dice = np.random.default_rng(0)
    each = experiments(spec, count)
    return [Recorded(e.to_json(), (truth(e) + dice.normal(0, noise, EPOCHS)).tolist(), 2.0) for e in each]


# The process


def data(count: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    dice = np.random.default_rng(1)
    places_ND = np.column_stack([dice.random((count, 2)), dice.integers(0, 2, count) / 2 + 0.25])
    curves_NE = np.sin(5 * places_ND[:, :1]) + places_ND[:, 2:] * np.arange(1, 4) + dice.normal(0, 0.05, (count, 3))
    return places_ND, curves_NE, np.array([False, False, True])


def test_the_likelihood_is_scipys() -> None:
    """At the variance of its maximum, which is what the constant part leaves out."""
    places_ND, curves_NE, categorical_D = data(12)
    kernel_NN = matrix(places_ND, np.array([0.3, 0.6, 1.2]), categorical_D, 0.1)
    centered_NE = curves_NE - curves_NE.mean(0)
    expected = 0.0
    for centered_N in centered_NE.T:
        variance = centered_N @ np.linalg.inv(kernel_NN) @ centered_N / 12
        expected += multivariate_normal(np.zeros(12), variance * kernel_NN).logpdf(centered_N)
    constant = -0.5 * centered_NE.size * (np.log(2 * np.pi) + 1)
    assert log_likelihood(kernel_NN, centered_NE) + constant == pytest.approx(expected)


def test_the_mean_is_scikit_learns() -> None:
    process_module = pytest.importorskip("sklearn.gaussian_process")
    places_ND, curves_NE, categorical_D = data()
    found = fit(places_ND, curves_NE, categorical_D)
    noise = float(matrix(places_ND, found.scales_D, categorical_D, 0.0)[0, 0])
    assert noise == 1.0
    nugget = _nugget(found, places_ND, curves_NE)
    # A list of two choices, as far apart as any two are: 1.
    scaled_ND = np.column_stack([places_ND[:, :2], (places_ND[:, 2] > 0.5).astype(float)]) / found.scales_D
    theirs = process_module.GaussianProcessRegressor(
        process_module.kernels.RBF(1.0, "fixed"), alpha=nugget, optimizer=None
    ).fit(scaled_ND, curves_NE - curves_NE.mean(0))
    place_D = np.array([0.4, 0.6, 0.75])
    expected = theirs.predict(np.array([[0.4, 0.6, 1.0]]) / found.scales_D)[0] + curves_NE.mean(0)
    assert found.mean(place_D) == pytest.approx(expected)


def _nugget(found: Any, places_ND: np.ndarray, curves_NE: np.ndarray) -> float:
    """What is on the diagonal beside the kernel, from the weights that were solved for with it."""
    kernel_NN = matrix(places_ND, found.scales_D, found.categorical_D, 0.0)
    left_NE = curves_NE - curves_NE.mean(0) - kernel_NN @ found.weights_NE
    nuggets = left_NE / found.weights_NE
    assert np.allclose(nuggets, nuggets[0, 0])
    return float(nuggets[0, 0])


def test_a_dimension_that_does_not_matter_gets_the_longest_scale() -> None:
    places_ND, curves_NE, categorical_D = data(60)
    found = fit(places_ND, curves_NE, categorical_D)
    assert found.scales_D[1] >= 5.0 > found.scales_D[0]


def test_noise_has_the_size_of_what_the_choices_do_not_explain() -> None:
    places_ND, curves_NE, categorical_D = data(200)
    dice = np.random.default_rng(0)
    found = fit(places_ND, curves_NE, categorical_D)
    drawn = np.array([found.noise(dice) for _ in range(2000)])
    assert drawn.std(0) == pytest.approx([0.05] * 3, rel=0.35) and np.abs(drawn.mean(0)).max() < 0.01


# Curves


def test_curves_between_recorded_ones_are_near_the_truth(spec: Spec) -> None:
    found = RecordedCurves(trials(spec), spec, EPOCHS, seed=0)
    new = experiments(spec, 40, first=1000)
    errors = np.array([found.course(e).quality_E - truth(e) for e in new])
    assert np.sqrt((errors**2).mean()) < 0.03
    spread = np.std([truth(e) for e in new], axis=0).mean()
    assert spread > 0.06, "the mean of all would be further off"


def test_recorded_curves_cross_where_those_of_the_study_do(spec: Spec) -> None:
    found = RecordedCurves(trials(spec), spec, EPOCHS, seed=0)
    base = next(e for e in experiments(spec, 50) if not e.encoder_freeze and e.loss == "bce")
    fast, slow = (found.course(dataclasses.replace(base, decoder_lr=rate)).quality_E for rate in (8e-3, 1.5e-4))
    assert fast[0] > slow[0] + 0.05 and fast[-1] < slow[-1] - 0.1


def test_a_replicate_differs_by_its_noise_alone(spec: Spec) -> None:
    found = RecordedCurves(trials(spec), spec, EPOCHS, seed=0)
    one = experiments(spec, 1)[0]
    again, replicate = found.course(one), found.course(dataclasses.replace(one, seed=1))
    assert np.array_equal(again.quality_E, found.course(one).quality_E)
    assert 0 < np.abs(again.quality_E - replicate.quality_E).mean() < 0.03


def test_other_epochs_are_the_same_curve_stretched(spec: Spec) -> None:
    whole, third = (RecordedCurves(trials(spec, noise=0.0), spec, epochs, 0) for epochs in (EPOCHS, EPOCHS // 3))
    one = experiments(spec, 1)[0]
    assert third.expected(one) == pytest.approx(whole.expected(one)[2::3], abs=0.02)


def test_near_a_trial_that_failed_trials_fail(spec: Spec) -> None:
    each = trials(spec)
    failed = Recorded(each[0].experiment, [], 2.0, "training loss is nan in epoch 1")
    found = RecordedCurves([failed, *each[1:]], spec, EPOCHS, seed=0)
    course = found.course(Experiment.from_json(failed.experiment))
    assert course.failure is not None and course.failure.reason == failed.reason and course.fails_in == 1
    assert found.course(Experiment.from_json(each[5].experiment)).failure is None


def test_least_is_best_where_the_study_says_so(spec: Spec) -> None:
    loss = load_spec(SEARCHED, [f"epochs={EPOCHS}", "objective={metric: val_loss, mode: min}"])
    losses = [dataclasses.replace(trial, scores=[1 - score for score in trial.scores]) for trial in trials(spec)]
    one = experiments(spec, 1)[0]
    expected = RecordedCurves(trials(spec), spec, EPOCHS, 0).course(one).quality_E
    assert RecordedCurves(losses, loss, EPOCHS, 0).course(one).quality_E == pytest.approx(expected)


# Where they come from


def test_only_trials_that_were_trained_to_the_end_or_diverged_are_kept(make_record: Any) -> None:
    records: list[Record] = [
        make_record(0, values=[0.1, 0.2, 0.3], epochs=3),
        make_record(1, State.PRUNED, [0.1], epochs=3),
        make_record(2, State.FAILED, [0.1], epochs=3),
        make_record(3, State.FAILED, [], epochs=3),
    ]
    records[2].reason, records[3].reason = "training loss is nan in epoch 2", "RuntimeError: CUDA error"
    kept = recorded(records, objective=_objective())
    assert [trial.scores for trial in kept] == [[0.1, 0.2, 0.3], [0.1]]
    assert [trial.reason for trial in kept] == ["", "training loss is nan in epoch 2"] and kept[0].seconds == 2.0


def _objective() -> Any:
    from study.ranking.objective import Objective

    return Objective("val_iou", "max")


def test_a_file_holds_what_the_study_does(spec: Spec, tmp_path: Path, make_record: Any) -> None:
    store = Store(str(tmp_path / "study"))
    store.write_json("study.json", {"format": 1, "spec": spec.to_json()})
    for trial, kept in enumerate(trials(spec, 25)):
        experiment = Experiment.from_json(kept.experiment)
        write_record(store, make_record(trial, values=kept.scores, experiment=experiment, epochs=EPOCHS))
    of, found = of_study(store.uri)
    save(tmp_path / "curves.json", of, found)
    assert load(tmp_path / "curves.json") == (of, found) and len(found) == 25
    one = experiments(spec, 1)[0]
    sources = (store.uri, str(tmp_path / "curves.json"))
    first, second = (curves(source, spec, 0, 0.0).course(one).quality_E for source in sources)
    assert np.array_equal(first, second)


def test_what_curves_cannot_be_taken_from(spec: Spec, tmp_path: Path) -> None:
    with pytest.raises(CurvesError, match=r"nowhere\.json: cannot be read"):
        curves(str(tmp_path / "nowhere.json"), spec, 0, 0.0)
    with pytest.raises(FileNotFoundError, match="no study here"):
        curves(str(tmp_path), spec, 0, 0.0)
    save(tmp_path / "few.json", spec, trials(spec, 5))
    with pytest.raises(CurvesError, match="5 trials were trained to the end; at least 20 are needed"):
        curves(str(tmp_path / "few.json"), spec, 0, 0.0)
    (tmp_path / "other.json").write_text(json.dumps([1, 2]))
    with pytest.raises(Exception, match="is no file of learning curves"):
        curves(str(tmp_path / "other.json"), spec, 0, 0.0)
