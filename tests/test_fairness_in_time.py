"""Uses and gradients of channels through training: counted, not changed, and gone on with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bcnet_lib import BC, UA, BCv2, Cyclic, SupernetTrainer
from bcnet_lib.ablations import EXPERIMENTS, fairness_in_time, run
from bcnet_lib.ablations.cells import Where, finish
from bcnet_lib.ablations.fairness_in_time import (
    ASKED,
    FULL,
    _cell,
    by_unit,
    gradient_meter,
    gradient_of_widths,
    looks,
    predicted,
    spread,
)
from bcnet_lib.ablations.problem import problem_of
from bcnet_lib.methods import METHODS, passes_a_step
from bcnet_lib.profiles import PROFILES

FAIRNESS = EXPERIMENTS["fairness_in_time"]
SMOKE = PROFILES["fairness_in_time"]["smoke"]


@pytest.fixture(scope="module")
def problem():
    return problem_of(SMOKE)


def trainer_of(problem, method="BCv2 + complement", steps=3):
    how = METHODS[method]
    net = problem.supernet(how.principle, 0)
    options = {"update": how.update, "complement": how.complement, "seed": 0, "progress": False}
    return SupernetTrainer(net, problem.data, problem.supernet_recipe(steps), **options)


@pytest.mark.parametrize("profile", PROFILES["fairness_in_time"])
def test_every_look_is_between_two_steps_of_every_method(profile):
    profile = PROFILES["fairness_in_time"][profile]
    at = looks(profile.passes)
    assert at[-1] == profile.passes and at == sorted(set(at))
    for method, _ in ASKED:
        if method != FULL:
            assert all(n % passes_a_step(METHODS[method]) == 0 for n in at)


def test_the_meter_changes_no_number_of_the_training(problem):
    plain = trainer_of(problem).fit()
    metered = trainer_of(problem)
    gradient_meter(metered.net, metered.optimizer)
    metered.fit()
    assert (plain.records.losses == metered.records.losses).all()
    weights = zip(plain.net.parameters(), metered.net.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)


def test_the_meter_adds_up_the_norms_that_the_optimiser_saw(problem):
    trainer = trainer_of(problem)
    sums, makers = gradient_meter(trainer.net, trainer.optimizer)
    step, want = trainer.optimizer.step, {name: 0 for name in sums}

    def slow():  # channel by channel, by another road
        for name, (weight,) in makers.items():
            norms = [float(row.double().norm()) for row in weight.grad]
            want[name] = want[name] + np.array(norms)
        return step()

    trainer.optimizer.step = slow
    trainer.fit()
    for name, total in sums.items():
        assert np.allclose(total.numpy(), want[name], rtol=1e-9)
    assert list(sums) == [g.name for g in problem.space.groups]


def test_what_no_pass_uses_has_no_gradient(problem):
    trainer = trainer_of(problem, "UA", steps=1)
    sums, _ = gradient_meter(trainer.net, trainer.optimizer)
    trainer.fit()
    windows = trainer.net.windows(trainer.records.widths[0], 0)
    for total, (start, stop) in zip(sums.values(), windows, strict=True):
        used = np.zeros(len(total), bool)
        used[start:stop] = True
        assert ((total.numpy() > 0) == used).all()


def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    cell = _cell(SMOKE, "BC + complement", True, 1)
    whole = finish(cell, Where(folder=tmp_path / "whole"))["result"]
    part, fit = Where(folder=tmp_path / "part", until=2e9), SupernetTrainer.fit
    steps = []

    def stops(self, max_steps=None, minutes=None):  # after 2 steps, as if the time were over
        fit(self, max_steps=min(2, max_steps))
        steps.append(self.step)
        monkeypatch.setattr(Where, "over", property(lambda _: True))
        return self

    monkeypatch.setattr(SupernetTrainer, "fit", stops)
    for _ in range(9):
        body = finish(cell, part)
        monkeypatch.undo()
        if body is not None:
            break
        monkeypatch.setattr(SupernetTrainer, "fit", stops)
    assert body["result"] == whole
    assert len(steps) > 2 and steps == sorted(set(steps))
    assert [p.suffix for p in cell.path(part.folder).parent.iterdir()] == [".json"]


def test_a_process_that_ends_between_two_files_loses_nothing(tmp_path, monkeypatch):
    cell = _cell(replace(SMOKE, checkpoint_every=2), "BC", False, 0)
    whole = finish(cell, Where(folder=tmp_path / "whole"))["result"]
    real, calls = SupernetTrainer.save, []

    def dies(self, path=None):
        calls.append(self.step)
        if len(calls) == 3:
            raise KeyboardInterrupt
        real(self, path)

    monkeypatch.setattr(SupernetTrainer, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        finish(cell, Where(folder=tmp_path))
    assert finish(cell, Where(folder=tmp_path))["result"] == whole
    assert calls[3] == calls[2]  # went on from the step before, not from the start


def test_spread_of_equal_and_of_unequal_channels():
    assert spread([[2, 2, 2], [5, 5]]) == (0, 0)
    cv, gap = spread([[1, 3], [2, 2]])
    assert cv == pytest.approx(0.25) and gap == 1


def test_units_are_stretches_of_channels():
    assert by_unit([[1, 1, 3, 3]], [2]).tolist() == [0.5, 1.5]
    mixed = by_unit([[9, 1], [1, 1, 3, 3], [3, 3, 1, 1]], [1, 2, 2])
    assert mixed.tolist() == [1, 1]


def test_the_gradient_of_widths_gives_back_what_ua_measured():
    units = [2.4, 1.0, 0.4, 0.2]
    of_widths = gradient_of_widths(units)
    assert np.allclose(of_widths, [1.4, 0.6, 0.2, 0.2])
    assert np.allclose(predicted(UA(), of_widths), units)


def test_prediction_by_hand():
    of_widths = [4, 3, 2, 1]  # a narrow path gives more
    assert np.allclose(predicted(BC(), of_widths), np.array([11, 9, 9, 11]) / 10)
    assert np.allclose(predicted(Cyclic(), of_widths), 1)
    assert np.allclose(predicted(BC(), [0, 3, 2, 1], base=2), np.array([7, 9, 9, 7]) / 8)


@pytest.mark.parametrize("principle", [UA(), BC(), BCv2(), BCv2(overlap="paper"), Cyclic()])
@pytest.mark.parametrize("K, base", [(4, 1), (4, 2), (10, 3)])
def test_widths_that_all_give_the_same_predict_the_cardinality(principle, K, base):
    count = principle.cardinality(K, base)
    assert np.allclose(predicted(principle, np.ones(K), base), count / count.mean())


def test_the_record_of_a_trial(tmp_path, monkeypatch):
    asked = (("UA", False), ("BCv2 + complement", False), (FULL, False), ("BC", True))
    monkeypatch.setattr(fairness_in_time, "ASKED", asked)
    record = run(FAIRNESS, "smoke", Where(folder=tmp_path), seeds=2)
    assert len(record.rows) == 2 * len(asked) * len(looks(SMOKE.passes))
    fair = [r for r in record.rows if r["method"] in ("BCv2 + complement", FULL)]
    assert all(r["uses_cv"] == 0 and r["uses_with_gradient"] is None for r in fair)
    assert all(r["gradient_cv"] > 0 for r in record.rows)
    assert {r["base"] for r in record.rows if r["method"] == "BC"} == {2}
    last = record.values("uses_with_gradient", method="UA", passes=SMOKE.passes)
    assert (last > 0.5).all()  # who is used more gets more gradient
