"""The running average of the weights, and training with it and with a teacher in parts."""

import copy
from dataclasses import replace

import pytest
import torch
from tiny import RECIPE, cnn

from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.data import load
from bcnet_lib.evaluate import accuracy
from bcnet_lib.scratch import average_of, train_from_scratch, train_in_parts

AVERAGED = replace(RECIPE, epochs=2.5, ema=0.9)


@pytest.fixture(scope="module")
def data():
    return load("digits", size=600)


def network(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    return cnn(dropout=dropout)


def states(model):
    return [t.clone() for t in model.state_dict().values()]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(states(a), states(b), strict=True))


def test_the_average_follows_its_formula(data):
    recipe = replace(AVERAGED, epochs=1, batch_size=64)
    steps = data.train.steps(64, drop_last=True)
    assert steps > 4
    model, seen = network(), []

    def numbers(net):
        return [t.detach().double() for t in net.state_dict().values() if t.is_floating_point()]

    model.register_forward_pre_hook(lambda net, _: seen.append(numbers(net)))
    train_from_scratch(model, data, replace(recipe, ema=0.0), eval_test=False)
    after = seen[1 : steps + 1]  # before the next pass, the last one is of the evaluation
    expected = after[0]
    for t in range(1, steps):
        a = min(0.9, (1 + t) / (10 + t))
        expected = [a * e + (1 - a) * x for e, x in zip(expected, after[t], strict=True)]
    got = train_from_scratch(network(), data, recipe, eval_test=False).model
    for e, x in zip(expected, numbers(got), strict=True):
        torch.testing.assert_close(x, e, rtol=1e-4, atol=1e-6)


def test_the_average_is_measured_and_the_weights_are_left_as_they_are(data):
    plain, averaged = network(), network()
    without = train_from_scratch(plain, data, replace(AVERAGED, ema=0.0))
    trained = train_from_scratch(averaged, data, AVERAGED)
    assert same(plain, averaged) and without.model is plain
    assert trained.model is not averaged and not same(trained.model, averaged)
    assert not trained.model.training
    assert trained.val_accuracy == accuracy(trained.model, data.val)
    assert trained.test_accuracy == accuracy(trained.model, data.test)


@pytest.mark.parametrize("ema", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop"])
def test_parts_with_average_and_teacher_are_training_in_one_go(data, tmp_path, ema, optimizer):
    recipe = replace(AVERAGED, ema=ema, optimizer=optimizer, lr=0.01, decay_all=False)
    taught = {"teacher": network(5), "distill_weight": 0.4, "temperature": 2.0, "seed": 3}
    whole = train_from_scratch(network(dropout=0.2), data, recipe, **taught)
    options = taught | {"checkpoint": tmp_path / "state"}
    asked = iter([False, True])
    assert train_in_parts(
        network(dropout=0.2), data, recipe, over=lambda: next(asked), **options
    ) is None  # fmt: skip
    after = train_in_parts(network(9, dropout=0.2), data, recipe, **options)
    assert same(whole.model, after.model) and whole.history.equals(after.history)
    assert (whole.val_accuracy, whole.test_accuracy) == (after.val_accuracy, after.test_accuracy)


def test_the_test_split_is_left_alone_and_the_file_kept_where_asked(data, tmp_path):
    options = {"checkpoint": tmp_path / "state", "eval_test": False, "keep": True}
    trained = train_in_parts(network(), data, AVERAGED, **options)
    assert trained.test_accuracy is None and (tmp_path / "state").exists()
    again = train_in_parts(network(), data, AVERAGED, **options)  # its last epoch once more
    assert same(trained.model, again.model) and trained.history.equals(again.history)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": 6}, "teacher is"),
        ({"teacher": None}, "teacher is None"),
        ({"distill_weight": 0.3}, "distill_weight is 0.3, was 0.4"),
        ({"temperature": 3.0}, "temperature is 3.0, was 2.0"),
        ({"recipe": replace(AVERAGED, ema=0.5)}, "recipe.ema is 0.5, was 0.9"),
    ],
)
def test_parts_of_another_teaching_are_refused(data, tmp_path, change, message):
    asked = {"teacher": 5, "distill_weight": 0.4, "temperature": 2.0, "recipe": AVERAGED}

    def go(teacher, recipe, **options):
        options["teacher"] = None if teacher is None else network(teacher)
        asked_over = iter([False, True, True])
        options |= {"checkpoint": tmp_path / "state", "over": lambda: next(asked_over)}
        return train_in_parts(network(), data, recipe, **options)

    assert go(**asked) is None
    with pytest.raises(CheckpointError, match=message):
        go(**asked | change)


def test_a_later_part_needs_the_average_of_the_first(data):
    model = network()
    optimizer = AVERAGED.make_optimizer(model.parameters())
    with pytest.raises(ValueError, match="give its average"):
        train_from_scratch(model, data, AVERAGED, epochs=range(1, 2), optimizer=optimizer)
    assert average_of(model, RECIPE) is None


def test_a_teacher_of_other_classes_is_refused_with_both_numbers(data):
    teacher = copy.deepcopy(network())
    teacher[-1] = torch.nn.Linear(16, 7)
    with pytest.raises(ValueError, match="teacher gives 7 outputs an image and the network 10"):
        train_from_scratch(network(), data, RECIPE, teacher=teacher)
