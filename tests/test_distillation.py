"""Training from scratch with a teacher, or with a penalty."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import RECIPE, cnn

from bcnet_lib.data import load
from bcnet_lib.recipe import Recipe
from bcnet_lib.scratch import train_from_scratch


@pytest.fixture(scope="module")
def data():
    return load("digits", size=600)


def network(seed, widths=(8, 8, 16)):
    torch.manual_seed(seed)
    return cnn(widths)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_first_step_follows_labels_and_teacher(data):
    recipe = Recipe(epochs=0.1, batch_size=64, lr=0.1, momentum=0, weight_decay=0)
    teacher = network(1).eval()
    model, same = network(2), network(2)
    trained = train_from_scratch(
        model, data, recipe, teacher=teacher, distill_weight=0.3, temperature=2.0
    )
    assert trained.passes == 1
    (x, y), *_ = data.train.batches(64, seed=0, epoch=0, drop_last=True)
    logits = same.train()(x)
    p, q = (F.softmax(t / 2, dim=1) for t in (teacher(x).detach(), logits))
    kl = (p * (p.log() - q.log())).sum(1).mean()
    (0.7 * F.cross_entropy(logits, y) + 0.3 * 4 * kl).backward()
    for a, b in zip(model.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(a, b - 0.1 * b.grad)


def test_without_weight_on_it_a_teacher_changes_nothing(data):
    plain, taught = network(2), network(2)
    train_from_scratch(plain, data, RECIPE)
    teacher = network(1)
    before = weights(teacher)
    train_from_scratch(taught, data, RECIPE, teacher=teacher, distill_weight=0.0)
    assert torch.equal(weights(plain), weights(taught))
    assert torch.equal(before, weights(teacher)) and teacher.training


def test_a_student_of_the_teacher_alone_comes_to_agree_with_it(data):
    recipe = Recipe(epochs=30, batch_size=64, lr=0.2)
    teacher = network(1)
    train_from_scratch(teacher, data, recipe)
    wrong = torch.nn.Sequential(teacher, _Shift())  # says every digit plus one

    def agree(model):
        model.eval()
        with torch.no_grad():
            same = model(data.train.x).argmax(1) == wrong(data.train.x).argmax(1)
        return float(same.float().mean())

    student = network(2)
    before = agree(student)
    train_from_scratch(student, data, recipe, teacher=wrong, distill_weight=1.0)
    assert agree(student) > max(0.6, before + 0.3)


class _Shift(torch.nn.Module):
    def forward(self, x):
        return x.roll(1, dims=1)


@pytest.mark.parametrize("bad", [{"distill_weight": 1.5}, {"temperature": 0}, {"temperature": -1}])
def test_settings_out_of_range_are_refused(data, bad):
    with pytest.raises(ValueError, match="distillation needs 0 <= distill_weight <= 1"):
        train_from_scratch(network(0), data, RECIPE, teacher=network(1), **bad)


def test_a_penalty_is_added_to_the_loss(data):
    plain, small = network(3), network(3)
    train_from_scratch(plain, data, RECIPE)
    train_from_scratch(
        small, data, RECIPE, penalty=lambda m: 0.05 * sum((p**2).sum() for p in m.parameters())
    )
    assert np.isfinite(float(weights(small).norm()))
    assert weights(small).norm() < 0.95 * weights(plain).norm()
