"""Learning rates, optimisers and refusals of a recipe."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from tiny import RECIPE, cnn, supernet

from bcnet_lib.data import load
from bcnet_lib.recipe import Recipe
from bcnet_lib.scratch import train_from_scratch
from bcnet_lib.train import SupernetTrainer


@pytest.fixture(scope="module")
def data():
    return load("digits", size=600)


# learning rates


def rates(recipe, per_epoch=10):
    return np.array([recipe.lr_at(t, per_epoch) for t in range(recipe.steps(per_epoch))])


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine_to_zero():
    got = rates(Recipe(epochs=10, warmup_epochs=2, lr=0.4))
    np.testing.assert_allclose(got[:20], 0.4 * np.arange(1, 21) / 20)
    np.testing.assert_allclose(got[20:], 0.2 * (1 + np.cos(np.pi * np.arange(80) / 80)))
    assert max(got) == 0.4 and 0 < got[-1] < 1e-3


def test_steps_come_every_so_many_epochs_with_those_of_warmup_counted():
    recipe = Recipe(epochs=9, lr=0.4, schedule="step", decay=0.5, decay_epochs=3)
    expected = 0.4 * np.repeat([1, 0.5, 0.25], 30)
    np.testing.assert_allclose(rates(recipe), expected)
    expected[:20] = 0.4 * np.arange(1, 21) / 20
    np.testing.assert_allclose(rates(replace(recipe, warmup_epochs=2)), expected)


def test_steps_come_at_named_epochs():
    recipe = Recipe(epochs=9, schedule="step", decay=0.1, decay_epochs=(2, 6.5))
    np.testing.assert_allclose(rates(recipe), 0.1 ** np.repeat([1.0, 2.0, 3.0], [20, 45, 25]))
    assert replace(recipe, decay_epochs=[2, 6.5]) == recipe  # as JSON gives it back


def test_the_exponential_has_the_steps_rates_where_they_begin():
    smooth = Recipe(epochs=9, schedule="exponential", decay=0.963, decay_epochs=3)
    got, steps = rates(smooth), rates(replace(smooth, schedule="step"))
    np.testing.assert_allclose(got[::30], steps[::30])
    np.testing.assert_allclose(got[1:] / got[:-1], 0.963 ** (1 / 30))


def test_the_papers_exponential_is_that_of_efficientnet():
    ours = Recipe(epochs=350, schedule="exponential", decay=0.963, decay_epochs=3)
    theirs = replace(ours, decay=0.97, decay_epochs=2.4)
    np.testing.assert_allclose(rates(ours), rates(theirs), rtol=0.05)
    assert pytest.approx(0.97 ** (3 / 2.4), abs=5e-4) == 0.963


@pytest.mark.parametrize("schedule", ["cosine", "step", "exponential"])
def test_pytorchs_schedulers_give_the_same_rates(schedule):
    recipe = Recipe(epochs=6, lr=0.3, schedule=schedule, decay=0.5, decay_epochs=2)
    optimizer = recipe.make_optimizer(cnn().parameters())
    of = torch.optim.lr_scheduler
    scheduler = {
        "cosine": lambda: of.CosineAnnealingLR(optimizer, T_max=60),
        "step": lambda: of.StepLR(optimizer, step_size=20, gamma=0.5),
        "exponential": lambda: of.ExponentialLR(optimizer, gamma=0.5 ** (1 / 20)),
    }[schedule]()
    theirs = []
    for _ in range(60):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    np.testing.assert_allclose(rates(recipe), theirs, rtol=1e-9)


# refusals


@pytest.mark.parametrize(
    "field",
    [
        {"epochs": 0},
        {"batch_size": 2.5},
        {"optimizer": "adam"},
        {"lr": -1},
        {"lr": math.nan},
        {"momentum": 1},
        {"alpha": 1.0},
        {"eps": 0},
        {"weight_decay": -1e-4},
        {"schedule": "linear"},
        {"decay": 0},
        {"decay": 1.5},
        {"decay_epochs": 0},
        {"decay_epochs": (3, 6)},  # the cosine has no such epochs
        {"warmup_epochs": 30},
        {"label_smoothing": 1.0},
        {"ema": 1.0},
        {"ema": math.nan},
    ],
)
def test_a_recipe_refuses_a_value_out_of_range_by_its_name(field):
    (name,) = field
    with pytest.raises(ValueError, match=rf"Recipe\({name}=.*{name} must be"):
        Recipe(**field)


@pytest.mark.parametrize("epochs", [(), (6, 3), (3, 3), (0, 3)])
def test_epochs_of_steps_ascend(epochs):
    with pytest.raises(ValueError, match="decay_epochs must be .* ascending"):
        Recipe(schedule="step", decay_epochs=epochs)


def test_a_recipe_is_printed_as_a_table_of_what_has_an_effect():
    table = RECIPE.to_frame()
    assert table.loc["lr", "value"] == RECIPE.lr
    idle = {"alpha", "eps", "decay", "decay_epochs"}
    assert set(table.index) == {f.name for f in fields(Recipe)} - idle
    steps = replace(RECIPE, optimizer="rmsprop", schedule="step").to_frame()
    assert set(steps.index) == {f.name for f in fields(Recipe)} - {"nesterov"}


# optimisers


def one_step(recipe, grads):
    """Weights after steps with given gradients, from 1 everywhere."""
    p = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = recipe.make_optimizer([p])
    for g in grads:
        p.grad = torch.full((2, 2), float(g))
        optimizer.step()
    return p[0, 0].item()


def test_rmsprop_divides_by_the_root_of_the_mean_square():
    recipe = Recipe(optimizer="rmsprop", lr=0.1, momentum=0, weight_decay=0, alpha=0.5, eps=0.2)
    first = 1 - 0.1 * 3 / (math.sqrt(0.5 * 9) + 0.2)
    assert one_step(recipe, [3]) == pytest.approx(first)
    second = first - 0.1 * 1 / (math.sqrt(0.25 * 9 + 0.5 * 1) + 0.2)
    assert one_step(recipe, [3, 1]) == pytest.approx(second)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
@pytest.mark.parametrize("decay_all", [True, False])
def test_weight_decay_may_leave_out_biases_and_normalisation(optimizer, decay_all):
    recipe = Recipe(optimizer=optimizer, decay_all=decay_all, lr=0.1, momentum=0, weight_decay=0.5)
    model = cnn()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    step = recipe.make_optimizer(model.parameters())
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    step.step()
    for name, p in model.named_parameters():
        moved = not torch.equal(p, before[name])
        zero = not before[name].any()  # the biases of normalisation begin at 0
        assert moved == ((decay_all or p.ndim > 1) and not zero), name


def test_a_supernet_and_a_network_learn_with_rmsprop_and_without_decay_of_biases(data):
    recipe = replace(RECIPE, optimizer="rmsprop", lr=0.01, batch_size=32, epochs=8, decay_all=False)
    run = SupernetTrainer(supernet(), data, recipe, progress=False).fit()
    first, last = run.records.losses[:4].mean(), run.records.losses[-4:].mean()
    assert last < 0.8 * first
    assert train_from_scratch(cnn(), data, recipe).val_accuracy > 0.4


def test_a_supernet_has_no_average(data):
    with pytest.raises(ValueError, match=r"ema=0\.9.*not averaged"):
        SupernetTrainer(supernet(), data, replace(RECIPE, ema=0.9))
