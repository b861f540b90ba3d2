"""A spec is read, resolved and kept without loss; whatever is wrong with it is said in one line."""

import json
import subprocess
import sys

import pytest
import yaml

from seg.data import DATASETS
from seg.losses import LOSSES
from seg.models import FORM, MODELS
from seg.options import AUGMENTATIONS
from study.spec import SpecError, bundled, from_json, load_spec
from study.spec.spec import Finalists

KEYS = (
    "description, dataset, image_size, trials, epochs, budget, seed, objective, sampler, early_stopping, finalists, "
    "compare, encoder, resources, fixed, search, baselines, published"
)

MOBILENETS = "mobilenetv2_plain, mobilenetv2_skip"
TEXT = """
description: A study for the tests
dataset: phantom
image_size: 64
trials: 4
epochs: 6
early_stopping: {scheduler: asha, min_epochs: 2, reduction_factor: 2}
finalists: 2
encoder: {weights: none}
fixed: {optimizer: adamw, weight_decay: 1e-4}
search:
  model: [mobilenetv2_plain, mobilenetv2_skip]
  encoder_freeze: [true, false]
  encoder_lr: {low: 1e-5, high: 1e-3, log: true}
  decoder_lr: {low: 1e-4, high: 1e-2, log: true}
  loss:
    bce: {}
    dice_bce: {dice_weight: {low: 0.1, high: 2.0, log: true}}
  batch_size: [16, 32]
baselines:
  - name: published
    model: mobilenetv2_skip
    encoder_freeze: false
    encoder_lr: 1e-4
    decoder_lr: 1e-2
    loss: dice_bce
    loss_parameters: {dice_weight: 0.1}
    augment: none
    normalize: unit
    batch_size: 45
    optimizer: adam
    weight_decay: 0.0
    schedule: constant
    published: {iou: 0.7}
"""


@pytest.fixture
def spec_path(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def in_folder(spec_path, monkeypatch):
    """The spec's folder as the working directory, so that messages name it `own.yaml`."""
    monkeypatch.chdir(spec_path.parent)


def refusal_of(*overrides: str, source: str = "own.yaml") -> str:
    with pytest.raises(SpecError) as caught:
        load_spec(source, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        # unknown keys
        ("epoch=3", f"epoch: unknown key; did you mean epochs? (allowed: {KEYS})"),
        ("epochs_in_all.most=3", f"epochs_in_all: unknown key; did you mean epochs? (allowed: {KEYS})"),
        ("zzz=3", f"zzz: unknown key (allowed: {KEYS})"),
        ("model=unet", f"model: unknown key; it belongs in search or baselines (allowed: {KEYS})"),
        (
            "early_stopping.image_size=64",
            "early_stopping.image_size: unknown key; it stands on its own, outside of all sections "
            "(allowed: scheduler, min_epochs, min_steps, reduction_factor)",
        ),
        (
            "search.decoder_lr.lo=1e-3",
            "search.decoder_lr.lo: unknown key; did you mean low? (allowed: low, high, log, step, int)",
        ),
        (
            "search.loss.dice_bce.dice_weight.hi=1",
            "search.loss.dice_bce.dice_weight.hi: unknown key; did you mean high? (allowed: low, high, log, step, int)",
        ),
        (
            "early_stopping.min_epoch=1",
            "early_stopping.min_epoch: unknown key; did you mean min_epochs? "
            "(allowed: scheduler, min_epochs, min_steps, reduction_factor)",
        ),
        # ranges
        (
            "search.decoder_lr={low: 0.01, high: 0.001}",
            "search.decoder_lr: low 0.01 is above high 0.001; low must be below high",
        ),
        ("search.decoder_lr.low=0", "search.decoder_lr: low 0 with log: true; low must be above 0"),
        (
            "search.loss.dice_bce.dice_weight.low=-1",
            "search.loss.dice_bce.dice_weight: low -1 with log: true; low must be above 0",
        ),
        ("search.decoder_lr.step=0.1", "search.decoder_lr: step 0.1 with log: true; leave one of them out"),
        (
            "search.decoder_lr={low: 0.1, high: 1, step: 0.2}",
            "search.decoder_lr: step 0.2 does not lead from low 0.1 to high 1 exactly",
        ),
        ("search.decoder_lr.high=.inf", "search.decoder_lr.high: inf given; must be finite"),
        ("search.decoder_lr={low: 1}", "search.decoder_lr.high: missing"),
        ("search.decoder_lr.low=0.0.1", "search.decoder_lr.low: '0.0.1' given; must be a number"),
        (
            "search.batch_size={low: 1.5, high: 4}",
            "search.batch_size: fractions given; low, high and step of a range of whole numbers must be whole",
        ),
        (
            "search.batch_size={low: 1, high: 4, int: false}",
            "search.batch_size: int: false given; must be a range of whole numbers",
        ),
        # choices
        ("search.model=[]", "search.model: an empty list given; must hold at least one choice"),
        ("search.decoder_lr=[]", "search.decoder_lr: an empty list given; must hold at least one choice"),
        ("search.loss={}", "search.loss: {} given; must have at least 1"),
        ("search.batch_size=[8, 8]", "search.batch_size: 8 is given 2 times; each choice must be given once"),
        (
            "search.model=[mobilenetv2_plain, unet9]",
            f"search.model: 'unet9' is not known; choose from {', '.join(MODELS)} or {FORM}",
        ),
        ("search.loss=hinge", f"search.loss: 'hinge' is not known; choose from {', '.join(LOSSES)}"),
        (
            "search.augment=[none, flip]",
            f"search.augment: 'flip' is not known; choose from {', '.join(AUGMENTATIONS)}",
        ),
        ("fixed.optimizer=sgd", "fixed.optimizer: 'sgd' is not known; choose from adam, adamw"),
        ("search.model=3", "search.model: 3 given; must be a text"),
        ("search.encoder_freeze=[1, 0]", "search.encoder_freeze: 1 given; must be true or false"),
        ("search.batch_size=[8, 1.5]", "search.batch_size: 1.5 given; must be a whole number"),
        ("search.batch_size=[8, 0]", "search.batch_size: 0 must be a whole number of at least 1"),
        ("search.decoder_lr=fast", "search.decoder_lr: 'fast' given; must be a number"),
        ("search.decoder_lr=[0.1, -0.1]", "search.decoder_lr: -0.1 must be above 0"),
        ("search.encoder_lr=[0.1, 0]", "search.encoder_lr: 0.0 must be above 0 where the encoder is not frozen"),
        ("fixed.weight_decay=-1", "fixed.weight_decay: -1.0 must be 0 or more"),
        # conditions
        (
            "search.loss.bce.dice_weight=1",
            "search.loss.bce.dice_weight: the loss bce has no such parameter; it has none",
        ),
        (
            "search.loss.dice_bce.alpha={low: 0, high: 1}",
            "search.loss.dice_bce.alpha: the loss dice_bce has no such parameter; it has dice_weight",
        ),
        ("fixed.batch_size=8", "fixed.batch_size: also in search as search.batch_size; must be in one of them"),
        (
            "search.decoder_lr=null",
            "search.decoder_lr: missing; give {low: .., high: .., log: true}, or a value in fixed",
        ),
        ("search.encoder_lr=null", "search.encoder_lr: missing; must be given where encoder_freeze can be false"),
        ("search.loss=null", "search.loss: nothing given; must be keys and values"),
        ("search.model=null", "search.model: nothing given; must be a text"),
        # the study
        ("dataset=isic", f"dataset: 'isic' is not known; did you mean isic2016? (allowed: {', '.join(DATASETS)})"),
        (
            "dataset=isic2016:few",
            "dataset: 'isic2016:few' asks for 'few' training images; give a number, as in isic2016:150",
        ),
        (
            "image_size=100",
            "image_size: 100 given; must be a multiple of 32, at least 64, for mobilenetv2_plain, mobilenetv2_skip",
        ),
        (
            "image_size=32",
            "image_size: 32 given; must be a multiple of 32, at least 64, for mobilenetv2_plain, mobilenetv2_skip",
        ),
        (
            "search.model=smp:PAN:resnet18",
            "image_size: 64 given; must be 128 or 160 or 192, for smp:PAN:resnet18",
        ),
        (
            "search.model=smp:Linknet:mit_b0",
            "search.model: 'smp:Linknet:mit_b0' cannot be built: Encoder `mit_b0` is not supported for Linknet",
        ),
        ("trials=0", "trials: 0 given; must be at least 1"),
        ("trials=ten", "trials: 'ten' given; must be a whole number"),
        ("epochs=2.5", "epochs: 2.5 given; must be a whole number"),
        ("epochs=true", "epochs: true given; must be a whole number"),
        ("epochs=0", "epochs: 0 given; must be at least 1"),
        ("finalists=-1", "finalists.top: -1 given; must be at least 0"),
        ("early_stopping.min_steps=0", "early_stopping.min_steps: 0 given; must be at least 1"),
        ("published=some", "published: 'some' given; choose from 'fitting' or 'all'"),
        ("fixed.keep=first", "fixed.keep: 'first' is not known; choose from best, last, average"),
        ("finalists=few", "finalists: 'few' given; must be a whole number, or {top: ..., seeds: ...}"),
        ("finalists.seeds=0", "finalists.seeds: 0 given; must be at least 1"),
        ("finalists.seed=3", "finalists.seed: unknown key; did you mean seeds? (allowed: top, seeds)"),
        (
            "resources.workers_per_trial=99",
            "resources.workers_per_trial: 99 given; must be at most the smallest batch_size, 16",
        ),
        ("seed=-1", "seed: -1 given; must be at least 0"),
        (
            "objective.metric=iou",
            "objective.metric: 'iou' given; must be a validation column, such as val_iou, val_dice or val_loss",
        ),
        (
            "objective=[{metric: val_iou}, {metric: latency, mode: min}]",
            "objective.1.metric: 'latency' given; must be a validation column, such as val_iou, val_dice or val_loss, "
            "or one of latency_ms, params_total, params_trainable, train_seconds, gpu_seconds",
        ),
        (
            "objective=[{metric: latency_ms, mode: min}, {metric: val_iou}]",
            "objective.0.metric: 'latency_ms' given; the first objective must be a validation column, such as val_iou: "
            "early stopping and best epochs go by it",
        ),
        (
            "objective=[{metric: val_iou}, {metric: params_total}]",
            "objective.1.mode: 'max' given; must be min for params_total",
        ),
        (
            "objective=[{metric: val_iou}, {metric: val_iou}]",
            "objective.1.metric: 'val_iou' is given twice; each objective must be another column",
        ),
        (
            "objective=[{metric: val_iou}, {metrik: val_dice}]",
            "objective.1.metrik: unknown key; did you mean metric? (allowed: metric, mode)",
        ),
        ("objective=[]", "objective: [] given; must have at least 1"),
        ("objective=val_iou", "objective: 'val_iou' given; must be keys and values"),
        # a budget
        ("budget=7200", "budget: '7200' given; must be an amount and its unit, as in 90min, 2h, 40gpu-hours or 25usd"),
        (
            "resources.price_per_hour={g6.xlarge: 0.8}",
            "resources.price_per_hour.default: missing; must be given for nodes of any other type",
        ),
        ("resources.price_per_hour=-1", "resources.price_per_hour.default: -1 given; must be at least 0.0"),
        ("resources.price_per_hour=cheap", "resources.price_per_hour: 'cheap' given; must be keys and values"),
        # a comparison
        (
            "compare=decoder_lr",
            "compare: 'decoder_lr' given; must be a choice of every trial with several values: "
            "model, loss, encoder_freeze, batch_size",
        ),
        (
            "compare=model",
            "trials: 4 given; 3 searched trials are to be shared by 2 values of model: give 3 or 5",
        ),
        ("objective.mode=biggest", "objective.mode: 'biggest' given; choose from 'max' or 'min'"),
        ("objective.mode=min", "objective.mode: 'min' given; must be max for val_iou"),
        ("objective.metric=val_loss", "objective.mode: 'max' given; must be min for val_loss"),
        (
            "early_stopping.scheduler=pbt",
            "early_stopping.scheduler: 'pbt' given; choose from "
            "'asha', 'promoting_asha', 'hyperband', 'median' or 'none'",
        ),
        ("sampler=annealing", "sampler: 'annealing' given; choose from 'tpe', 'gp', 'cmaes', 'random' or 'qmc'"),
        (
            "sampler=cmaes",
            "sampler: cmaes searches numbers alone; give model, loss, encoder_freeze a single value each, "
            "or tpe or gp as sampler",
        ),
        ("early_stopping.reduction_factor=1", "early_stopping.reduction_factor: 1 given; must be at least 2"),
        ("encoder.weights=coco", "encoder.weights: 'coco' given; choose from 'imagenet' or 'none'"),
        ("encoder=none", "encoder: 'none' given; must be keys and values"),
        ("resources.lanes=0", "resources.lanes: 0 given; must be auto, in-process or a number of lanes"),
        (
            "resources.lanes=all",
            "resources.lanes: 'all' given; must be auto, in-process or a number of lanes",
        ),
        ("resources.workers_per_trial=0", "resources.workers_per_trial: 0 given; must be at least 1"),
        ("resources.gpus_per_worker=1.5", "resources.gpus_per_worker: 1.5 given; above 1 it must be whole"),
        # baselines
        ("baselines.0.augment=null", "baselines.0.augment: missing; a baseline states every choice"),
        ("baselines.0.encoder_lr=null", "baselines.0.encoder_lr: missing; a baseline states every choice"),
        (
            "baselines.0.loss_parameters={}",
            "baselines.0.loss_parameters.dice_weight: missing; a baseline states every choice",
        ),
        (
            "baselines.0.loss_parameters.gamma=2",
            "baselines.0.loss_parameters.gamma: the loss dice_bce has no such parameter; it has dice_weight",
        ),
        (
            "baselines.0.encoder_freeze=true",
            "baselines.0.encoder_lr: 0.0001 is given, but encoder_freeze is true; leave it out",
        ),
        (
            "baselines.0.model=unet9",
            f"baselines.0.model: 'unet9' is not known; choose from {', '.join(MODELS)} or {FORM}",
        ),
        (
            "baselines.0.name=search",
            "baselines.0.name: 'search' is taken; each baseline needs its own name, and not 'search' or 'replicate'",
        ),
        # overrides that lead nowhere
        ("epochs.most=3", "epochs: holds 6, which has no key most"),
        ("search.batch_size.low=8", "search.batch_size: holds a list of 2, which has no item low"),
        ("baselines.3.model=unet", "baselines: holds a list of 1, which has no item 3"),
    ],
)
@pytest.mark.usefixtures("in_folder")
def test_refused_in_one_line_that_names_the_key_and_what_is_allowed(override, message):
    assert refusal_of(override) == f"own.yaml: {message}"


@pytest.mark.usefixtures("in_folder")
class TestRefusals:
    def test_fewer_trials_than_baselines_in_a_stored_spec(self, spec_path):
        """Of a study that has begun none may go."""
        stored = load_spec(str(spec_path)).to_json()
        stored["baselines"].append(stored["baselines"][0] | {"name": "another"})
        with pytest.raises(SpecError, match="trials: 1 given; must be at least 2, the number of baselines"):
            from_json(stored, ["trials=1"])

    def test_two_baselines_of_one_name(self, spec_path):
        raw = yaml.safe_load(TEXT)
        raw["baselines"] *= 2
        spec_path.write_text(yaml.safe_dump(raw))
        assert "baselines.1.name: 'published' is taken" in refusal_of()

    def test_several_problems_are_all_named(self):
        """Of single fields, and of how they agree, which is looked at once every field is right."""
        assert refusal_of("epochs=0", "finalists.top=-1", "search.decoder_lr.low=1") == (
            "own.yaml: epochs: 0 given; must be at least 1; finalists.top: -1 given; must be at least 0; "
            "search.decoder_lr: low 1 is above high 0.01; low must be below high"
        )
        assert refusal_of("image_size=100", "compare=model", "fixed.batch_size=8") == (
            "own.yaml: image_size: 100 given; must be a multiple of 32, at least 64, for mobilenetv2_plain, "
            "mobilenetv2_skip; fixed.batch_size: also in search as search.batch_size; must be in one of them"
        )

    def test_unknown_key_comes_before_the_key_that_it_was_meant_to_be(self, spec_path):
        spec_path.write_text(TEXT.replace("dataset: phantom", "data: phantom"))
        assert refusal_of() == f"own.yaml: data: unknown key; did you mean dataset? (allowed: {KEYS})"

    def test_missing_key(self, spec_path):
        spec_path.write_text(TEXT.replace("dataset: phantom\n", ""))
        assert refusal_of() == "own.yaml: dataset: missing"

    def test_yaml_syntax_error_with_its_line(self, spec_path):
        spec_path.write_text("dataset: phantom\nepochs: [1, 2\ntrials: 3\n")
        assert refusal_of().startswith("own.yaml: line 3: not valid YAML: ")

    def test_key_given_twice_with_its_line(self, spec_path):
        spec_path.write_text("epochs: 1\ntrials: 3\nepochs: 2\n")
        assert refusal_of() == "own.yaml: line 3: not valid YAML: epochs is given twice"

    @pytest.mark.parametrize(("text", "given"), [("", "nothing"), ("- 1\n", "[1]"), ("phantom", "'phantom'")])
    def test_no_mapping(self, spec_path, text, given):
        spec_path.write_text(text)
        assert refusal_of() == f"own.yaml: {given} given; a spec is a file of keys and values (YAML)"

    def test_bytes_that_are_no_text(self, spec_path):
        spec_path.write_bytes(b"\x89PNG\r\n\x1a\n\x00")
        assert refusal_of().startswith("own.yaml: not valid YAML: ")

    def test_override_without_a_value(self):
        assert refusal_of("epochs") == "own.yaml: override 'epochs': must be KEY=VALUE, as in epochs=3"

    def test_override_that_is_no_yaml(self):
        assert refusal_of("epochs=[1").startswith("own.yaml: epochs: '[1' given; line 1: not valid YAML: ")

    def test_a_sampler_whose_package_is_not_installed(self, monkeypatch):
        monkeypatch.setattr("study.spec.checks.find_spec", lambda name: None)
        numbers = "search={model: unet, loss: bce, decoder_lr: {low: 0.001, high: 0.01}, encoder_lr: 0.001}"
        problem = "sampler: cmaes needs the package cmaes: pip install 'segstudy[samplers]'; or give tpe"
        assert refusal_of("sampler=cmaes", numbers, "baselines=[]").endswith(problem)

    def test_cmaes_without_a_number_to_search(self):
        nothing = "search={model: unet, loss: bce, decoder_lr: 0.001, encoder_lr: 0.001}"
        assert "cmaes has no number to search" in refusal_of("sampler=cmaes", nothing, "baselines=[]")

    def test_neither_name_nor_file(self):
        message = f"isik: neither a bundled study nor a file; did you mean isic? (bundled: {', '.join(bundled())})"
        assert refusal_of(source="isik") == message

    def test_a_folder_of_images(self, tmp_path):
        said = refusal_of(source=str(tmp_path))
        assert said == f"{tmp_path}: is a folder; to study the images in it: folder --data {tmp_path}"


def test_scientific_notation_without_a_point_is_a_number(spec_path):
    spec = load_spec(str(spec_path), ["search.encoder_lr.high=2e-3", "fixed.weight_decay=5E-5"])
    assert (spec.search.encoder_lr.low, spec.search.encoder_lr.high) == (1e-5, 2e-3)
    assert spec.fixed.weight_decay == 5e-5


def test_overrides_replace_and_add_and_leave_the_rest(spec_path):
    overrides = ["epochs=3", "search.decoder_lr.high=0.5", "fixed.schedule=constant", "baselines.0.batch_size=8"]
    spec, before = load_spec(str(spec_path), overrides), load_spec(str(spec_path))
    assert (spec.epochs, spec.search.decoder_lr.low, spec.search.decoder_lr.high) == (3, 1e-4, 0.5)
    assert (spec.fixed.schedule, spec.fixed.optimizer, spec.baselines[0].batch_size) == ("constant", "adamw", 8)
    assert spec.search.encoder_lr == before.search.encoder_lr
    assert load_spec(str(spec_path), ["search.decoder_lr=0.1"]).search.decoder_lr == (0.1,)
    assert load_spec(str(spec_path), ["early_stopping.scheduler=none", "epochs=1"]).epochs == 1


@pytest.mark.parametrize("loss", ["bce", "[bce]", "{bce: }", "{bce: {}}"])
def test_a_loss_may_be_named_without_parameters(spec_path, loss):
    assert load_spec(str(spec_path), [f"search.loss={loss}"]).search.loss == {"bce": {}}


@pytest.mark.parametrize("name", bundled())
def test_bundled_specs_load_and_survive_json(name):
    spec = load_spec(name)
    assert from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec
    assert bundled()[name] == spec.description


def test_json_round_trip_of_every_form_of_dimension(spec_path):
    overrides = ["search.batch_size={low: 8, high: 32, step: 8}", "search.decoder_lr=0.1", "resources.lanes=2"]
    spec = load_spec(str(spec_path), overrides)
    raw = json.loads(json.dumps(spec.to_json()))
    assert from_json(raw) == spec
    assert from_json(raw, ["trials=7"]).trials == 7
    assert raw["objective"] == {"metric": "val_iou", "mode": "max"}, "defaults are written out"


def test_the_number_of_finalists_stands_for_the_best_of_one_seed_each(spec_path):
    for override, top, seeds in (("epochs=6", 2, 1), ("finalists=3", 3, 1), ("finalists.seeds=4", 2, 4)):
        found = load_spec(str(spec_path), [override]).finalists
        assert (found.top, found.seeds) == (top, seeds)
    assert load_spec(str(spec_path), ["finalists=9"]).finalists.top == 9, "more than trials: all of them"
    older = load_spec(str(spec_path)).to_json() | {"finalists": 2}
    assert from_json(older) == load_spec(str(spec_path))
    assert from_json(older, ["finalists.seeds=3"]).finalists == Finalists(top=2, seeds=3)


def test_what_is_left_out_is_known_to_be(spec_path):
    """It is what study.driver.planning chooses."""
    spec_path.write_text("dataset: phantom\nsearch: {model: unet, loss: bce, encoder_lr: 0.001, decoder_lr: 0.001}\n")
    spec = load_spec(str(spec_path))
    assert (spec.image_size, spec.trials, spec.epochs) == (128, 20, 30) and spec.sampler == "gp"
    assert spec.model_fields_set & {"image_size", "trials", "epochs", "finalists", "early_stopping"} == set()
    assert spec.early_stopping.scheduler == "promoting_asha"
    assert load_spec(str(spec_path), ["epochs=30"]).model_fields_set >= {"epochs"}


def test_a_study_may_be_shorter_than_its_first_rung(spec_path):
    """There is then no rung, rather than an error."""
    spec = load_spec(str(spec_path), ["epochs=1"])
    assert (spec.epochs, spec.early_stopping.min_epochs) == (1, 2)


@pytest.mark.parametrize(("trials", "kept"), [(1, ["published"]), (2, ["published", "another"]), (3, None)])
def test_of_more_baselines_than_trials_the_first_are_kept(spec_path, trials, kept):
    raw = yaml.safe_load(TEXT)
    names = ["published", "another", "third"]
    raw["baselines"] = [raw["baselines"][0] | {"name": name} for name in names]
    spec_path.write_text(yaml.safe_dump(raw))
    spec = load_spec(str(spec_path), [f"trials={trials}"])
    assert [baseline.name for baseline in spec.baselines] == (kept or names) and spec.trials == trials


def test_json_of_another_version_is_refused():
    with pytest.raises(SpecError, match=r"^study\.json: colour: unknown key"):
        from_json(load_spec("phantom").to_json() | {"colour": 1})


def test_a_spec_cannot_be_changed(spec_path):
    with pytest.raises(ValueError, match="frozen"):
        load_spec(str(spec_path)).epochs = 3


def test_listing_the_bundled_specs_imports_neither_torch_nor_optuna():
    code = "import sys; from study.spec import bundled; bundled(); print({'torch', 'optuna', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


class TestBorrowedBaselines:
    """A bundled study's name among the baselines stands for its own."""

    def load(self, spec_path, baselines, trials=9):
        raw = yaml.safe_load(spec_path.read_text()) | {"baselines": baselines, "trials": trials}
        spec_path.write_text(yaml.safe_dump(raw))
        return load_spec(str(spec_path))

    def test_stand_in_the_order_given(self, spec_path):
        own = yaml.safe_load(spec_path.read_text())["baselines"][0]
        spec = self.load(spec_path, ["published/r3-frozen", own, "published/r1-frozen"])
        borrowed = [load_spec(f"published/{name}").baselines[0] for name in ("r3-frozen", "r1-frozen")]
        assert (spec.baselines[0], spec.baselines[1].name, spec.baselines[2]) == (borrowed[0], own["name"], borrowed[1])

    def test_of_no_study_are_refused(self, spec_path):
        with pytest.raises(SpecError, match=r"baselines.0: 'published/r3-frosen' is no bundled study; did you mean"):
            self.load(spec_path, ["published/r3-frosen"])


def test_a_spec_of_baselines_alone_needs_no_search():
    spec = load_spec("published/r3-frozen")
    assert (spec.search, spec.trials, spec.models) == (None, 1, ["mobilenetv2_skip"])
    assert from_json(spec.to_json()) == spec
    with pytest.raises(SpecError, match="search: missing; must be given for 2 trials, of which 1 are baselines"):
        load_spec("published/r3-frozen", ["trials=2"])


def test_several_objectives_keep_their_order() -> None:
    listed = [{"metric": "val_iou", "mode": "max"}, {"metric": "latency_ms", "mode": "min"}]
    spec = load_spec("phantom", [f"objective={json.dumps(listed)}"])
    assert [(one.metric, one.mode) for one in spec.objectives] == [("val_iou", "max"), ("latency_ms", "min")]
    assert spec.objective == spec.objectives[0]
    assert spec.to_json()["objective"] == listed and from_json(spec.to_json()) == spec
    assert load_spec("phantom").objectives == (spec.objective,)
    assert (spec.sampler, load_spec("phantom").sampler) == ("tpe", "gp"), "gp has no Pareto set"


def test_where_some_model_is_never_frozen_freezing_is_not_compared() -> None:
    more = ["search.model=[unet, mobilenetv2_plain]", "compare=encoder_freeze"]
    assert "several values: model, loss" in refusal_of(*more, source="phantom")
    assert load_spec("phantom", more[1:]).compare == "encoder_freeze"


def test_a_comparison_without_a_search() -> None:
    message = refusal_of("compare=model", source="published/r4-unet")
    assert message.endswith(
        "compare: 'model' given; must be a choice of every trial with several values: none of this spec"
    )


@pytest.mark.parametrize(
    ("overrides", "sampler"),
    [
        ([], "gp"),
        (["trials=300"], "gp"),
        (["trials=301"], "tpe"),
        (["trials=301", "sampler=gp"], "gp"),
        (["objective=[{metric: val_iou, mode: max}, {metric: latency_ms, mode: min}]"], "tpe"),
    ],
)
def test_the_sampler_that_nobody_names_is_the_best_for_the_study(overrides: list[str], sampler: str) -> None:
    assert load_spec("isic", overrides).sampler == sampler
