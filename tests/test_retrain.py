"""Random networks trained a little, the best one to the end: counted, repeatable, in the budget."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import RECIPE, cnn, space

from bcnet_lib import scratch
from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.cost import CostTable
from bcnet_lib.data import load
from bcnet_lib.scratch import train_from_scratch
from bcnet_lib.search import BudgetError, random_retrain
from bcnet_lib.search import retrain as module

MODEL = cnn()
SPACE = space(MODEL)
COST = CostTable(MODEL, SPACE, torch.zeros(1, 1, 8, 8))
FULL, LEAST = COST.macs(SPACE.full), COST.macs(SPACE.narrowest)
PER_EPOCH = 8  # steps: 1,078 images in batches of 128


@pytest.fixture(scope="module")
def data():
    return load("digits")


def quiet(data, recipe=RECIPE, **options):
    return random_retrain(
        MODEL, SPACE, data, recipe, progress=False, **{"budget": FULL / 2, "short": 1} | options
    )


def weights(model):
    return [p.detach() for p in model.parameters()]


def same(a, b):
    pd.testing.assert_frame_equal(a.search.history, b.search.history)
    assert a.search.best.tolist() == b.search.best.tolist() and a.passes == b.passes
    for p, q in zip(weights(a.trained.model), weights(b.trained.model), strict=True):
        assert torch.equal(p, q)
    assert a.trained.test_accuracy == b.trained.test_accuracy


@pytest.mark.parametrize("epochs", [3, 2.5])
def test_the_best_ends_as_if_it_had_been_trained_alone(data, epochs):
    recipe = replace(RECIPE, epochs=epochs, augment=True)
    result = quiet(data, recipe, n=4, seed=2, short=2)
    alone = train_from_scratch(SPACE.build(MODEL, result.search.best, seed=2), data, recipe, seed=2)
    for p, q in zip(weights(result.trained.model), weights(alone.model), strict=True):
        assert torch.equal(p, q)
    assert result.trained.test_accuracy == alone.test_accuracy
    assert result.trained.history.epoch.tolist() == [3]
    assert alone.passes == round(epochs * PER_EPOCH)


@pytest.mark.parametrize(("short", "passes"), [(1, 5 * 8 + 16), (2, 5 * 16 + 8), (3, 5 * 24)])
def test_passes_are_those_of_the_short_trainings_and_the_rest_of_the_best(
    data, monkeypatch, short, passes
):
    done = []

    def counted(*args, **options):
        trained = train_from_scratch(*args, **options)
        done.append(trained.passes)
        return trained

    monkeypatch.setattr(module, "train_from_scratch", counted)
    result = quiet(data, n=5, short=short)
    assert result.passes == passes == sum(done)
    assert result.search.evaluations == 5 and f"{passes:,} passes" in repr(result)


def test_the_best_is_the_one_of_the_highest_validation_accuracy_after_the_short_training(data):
    result = quiet(data, n=4, seed=1)
    history = result.search.history
    for row in history.itertuples():
        network = SPACE.build(MODEL, [row.c1, row.c2, row.c3], seed=1)
        short = train_from_scratch(network, data, RECIPE, seed=1, epochs=range(1))
        assert row.score == short.val_accuracy
    assert result.search.score == history.score.max()


@settings(max_examples=5, deadline=None)
@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 100))
def test_no_network_is_over_the_budget(share, seed):
    budget = LEAST + share * (FULL - LEAST)
    small = load("fake", size=600)
    recipe = replace(RECIPE, epochs=1, warmup_epochs=0)
    result = quiet(small, recipe, budget=budget, n=2, seed=seed)
    history = result.search.history
    C = history[["c1", "c2", "c3"]].to_numpy()
    np.testing.assert_array_equal(history.macs, COST.macs(C))
    assert history.macs.max() <= budget and result.search.macs == COST.macs(result.search.best)
    built = [m.out_channels for m in result.trained.model if isinstance(m, torch.nn.Conv2d)]
    assert built == SPACE.channels(result.search.best).tolist()


def test_a_seed_gives_the_same_result(data):
    a, b, c = (quiet(data, n=3, seed=s) for s in (1, 1, 2))
    same(a, b)
    assert not a.search.history.equals(c.search.history)


def test_an_interrupted_run_ends_as_one_that_was_not(data, tmp_path, monkeypatch):
    whole = quiet(data, n=4)
    trained = []

    def breaks(at):
        def train(*args, **options):
            if len(trained) == at:
                raise KeyboardInterrupt
            trained.append(options["epochs"])
            return train_from_scratch(*args, **options)

        return train

    file = tmp_path / "random.json"
    for at in (1, 3, 4):  # before the second, the fourth and the last training
        monkeypatch.setattr(module, "train_from_scratch", breaks(at))
        with pytest.raises(KeyboardInterrupt):
            quiet(data, n=4, checkpoint=file)
    monkeypatch.setattr(module, "train_from_scratch", breaks(None))
    same(whole, quiet(data, n=4, checkpoint=file))
    assert trained == [range(1)] * 5 + [range(1, 3)]  # four, once again the best, and its rest


def test_a_checkpoint_of_another_search_is_refused(data, tmp_path):
    file = tmp_path / "random.json"
    quiet(data, n=1, checkpoint=file, eval_test=False)
    for message, other in {"short is 2, was 1": {"short": 2}, "seed is 1": {"seed": 1}}.items():
        with pytest.raises(CheckpointError, match=message):
            quiet(data, n=1, checkpoint=file, **other)
    with pytest.raises(CheckpointError, match=r"recipe\.lr is 0\.2, was 0\.05"):
        quiet(data, replace(RECIPE, lr=0.2), n=1, checkpoint=file)


def test_the_test_split_is_looked_at_once_and_only_when_asked(data, monkeypatch):
    seen, accuracy = [], scratch.accuracy

    def watched(model, split):
        seen.append(split.name)
        return accuracy(model, split)

    monkeypatch.setattr(scratch, "accuracy", watched)
    assert quiet(data, n=2, eval_test=False).trained.test_accuracy is None
    assert "test" not in seen
    quiet(data, n=3)
    assert seen.count("test") == 1


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"short": 0}, ValueError, r"epochs in 1\.\.3, got 0"),
        ({"short": 4}, ValueError, r"epochs in 1\.\.3, got 4"),
        ({"n": 0}, ValueError, "n must be an integer of at least 1, got 0"),
        ({"max_draws": 0}, ValueError, "max_draws must be an integer of at least 1, got 0"),
        ({"budget": LEAST - 1}, BudgetError, "below the narrowest network"),
        ({"budget": LEAST, "n": 2}, BudgetError, "only 1 of the 2|only 0 of the 2"),
    ],
)
def test_nonsense_is_refused(data, options, error, message):
    with pytest.raises(error, match=message):
        quiet(data, **options)


# training in parts, which this rests on


def test_training_in_parts_equals_training_in_one_go(data):
    recipe = replace(RECIPE, augment=True)
    whole = train_from_scratch(SPACE.build(MODEL, SPACE.full, seed=0), data, recipe)
    network = SPACE.build(MODEL, SPACE.full, seed=0)
    optimizer = recipe.make_optimizer(network.parameters())
    parts = [
        train_from_scratch(network, data, recipe, epochs=epochs, optimizer=optimizer)
        for epochs in (range(1), range(1, 3))
    ]
    for p, q in zip(weights(whole.model), weights(network), strict=True):
        assert torch.equal(p, q)
    history = pd.concat([part.history for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(history, whole.history)
    assert [part.passes for part in parts] == [8, 16] and whole.passes == 24


def test_parts_outside_the_recipe_are_refused(data):
    for epochs in (range(4), range(2, 1), range(0, 3, 2)):
        with pytest.raises(ValueError, match="are not among the 3 of the recipe"):
            train_from_scratch(cnn(), data, RECIPE, epochs=epochs)
    with pytest.raises(ValueError, match="go on from an earlier part: give its optimizer"):
        train_from_scratch(cnn(), data, RECIPE, epochs=range(1, 3))
