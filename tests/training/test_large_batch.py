"""Large batches lose accuracy, and a rate scaled with the batch brings it back."""

import json

import pytest

from experiments import cli
from experiments.training import datasets, models
from experiments.training.dataset import Dataset
from experiments.training.large_batch import Outcome, Plan, Recipe, recipes, summary, train
from experiments.training.learning_rates import Schedule
from kernels.optimise import Momentum

EPOCHS = 12


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.get("digits")


def trained(data: Dataset, recipe: Recipe, batch: int, seed: int = 0) -> Outcome:
    return train(models.get("mlp:hidden=64", data), data, recipe, batch=batch, epochs=EPOCHS, seed=seed)


def test_the_batch_that_a_rate_is_meant_for_trains_the_same_with_and_without_scaling(digits: Dataset) -> None:
    plain, scaled, *_ = recipes(reference=64, warm_up=2, learning_rate=0.05, lars_rate=1)
    one, other = trained(digits, plain, 64), trained(digits, scaled, 64)
    assert (one.accuracy, one.loss, one.learning_rate) == (other.accuracy, other.loss, 0.05)


def test_a_large_batch_learns_less_in_as_many_epochs_and_scaling_mends_it(digits: Dataset) -> None:
    plain, scaled, warm, lars = recipes(reference=16, warm_up=2, learning_rate=0.02, lars_rate=0.3)
    small, large = trained(digits, plain, 16), trained(digits, plain, 256)
    assert small.accuracy > large.accuracy + 0.05
    for remedy in (scaled, warm, lars):
        mended = trained(digits, remedy, 256)
        assert mended.accuracy > small.accuracy - 0.03, remedy.name
        assert mended.learning_rate == pytest.approx(16 * remedy.optimiser.learning_rate)
        assert mended.steps == EPOCHS * (len(digits.inputs) // 256)


def test_a_rate_too_high_ends_in_an_outcome_without_a_loss(digits: Dataset) -> None:
    wild = trained(digits, Recipe("wild", Momentum(1e20), Schedule()), 512)
    assert wild.loss is None
    assert wild.accuracy < 0.2


def test_the_summary_takes_the_median_of_the_seeds() -> None:
    found = [
        Outcome("one", batch, seed, 1, 3, 0.1, 0.0, accuracy, 0.0)
        for batch, accuracies in ((8, (0.5, 0.9, 0.8)), (16, (0.1, 0.3)))
        for seed, accuracy in enumerate(accuracies)
    ]
    assert [(one["batch"], one["runs"], one["accuracy_low"], one["accuracy_high"]) for one in summary(found)] == [
        (8, 3, 0.5, 0.9),
        (16, 2, 0.1, 0.3),
    ]
    assert [one["accuracy"] for one in summary(found)] == pytest.approx([0.8, 0.2])


def test_a_plan_runs_each_recipe_with_each_batch_and_seed() -> None:
    chosen = recipes(reference=8, warm_up=1, learning_rate=0.1, lars_rate=1)
    runs = list(Plan((8, 16), 1, (0, 1, 2)).runs(chosen))
    assert len({(recipe.name, batch, seed) for recipe, batch, seed in runs}) == len(runs) == 24


def test_the_command_prints_records_and_their_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["large-batch", "softmax", "--batch", "64,128", "--epochs", "1", "--seeds", "2", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["records"]) == 2 * len(document["summary"]) == 16
    assert {one["recipe"] for one in document["summary"]} == {"one rate", "scaled", "warm-up", "LARS"}
    assert document["environment"]["dataset"] == "digits"


def test_the_command_names_a_batch_that_is_too_large(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["large-batch", "softmax", "--batch", "8192"]) == 2
    assert "fewer than a batch of 8192" in capsys.readouterr().err
