"""Effects of widths: a made-up benchmark is taken apart into what it was made of."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest

from bcnet_lib.width_effects import effects, held_out, main_effects, smoothed, widths_by_budget

L, K = 4, 3
C = np.array(list(itertools.product(range(1, K + 1), repeat=L)))


def bench(y, noise=0.0, runs=3, seed=0):
    rng = np.random.default_rng(seed)
    accuracies = np.asarray(y)[:, None] + noise * rng.standard_normal((len(C), runs))
    return SimpleNamespace(
        name="toy", C=C, L=L, K=K, accuracies=accuracies, mean=accuracies.mean(axis=1),
        macs=C.prod(axis=1),
    )  # fmt: skip


def centred(rng, *shape):
    part = rng.standard_normal(shape)
    for axis in range(len(shape)):
        part = part - part.mean(axis=axis, keepdims=True)
    return part


def test_the_parts_are_those_it_was_made_of():
    rng = np.random.default_rng(1)
    main, pair = centred(rng, 1, K).repeat(L, 0) * np.arange(1, L + 1)[:, None], centred(rng, K, K)
    y = 80 + main[np.arange(L), C - 1].sum(axis=1) + pair[C[:, 1] - 1, C[:, 3] - 1]
    found = effects(bench(y))
    assert np.isclose(found.mean, 80) and np.allclose(found.main, main)
    assert np.allclose(found.additive, 80 + main[np.arange(L), C - 1].sum(axis=1))
    for ij, part in found.pairs.items():
        assert np.allclose(part, pair if ij == (1, 3) else 0)


def test_shares_add_up_and_equal_least_squares():
    y = np.random.default_rng(2).standard_normal(len(C))
    toy = bench(y, noise=0.1)
    shares = effects(toy).shares()
    assert np.isclose(shares.share.sum(), 1) and shares.dof.tolist() == [8, 24, 48]
    dummies = np.column_stack([C[:, g] == k for g in range(L) for k in range(1, K + 1)]).astype(
        float
    )
    fitted = dummies @ np.linalg.lstsq(dummies, toy.mean, rcond=None)[0]
    assert np.isclose(shares.share["one group"], fitted.var() / toy.mean.var())


def test_the_smooth_table_is_exact_up_to_pairs_and_as_sure_as_it_says():
    rng = np.random.default_rng(4)
    main, pair = centred(rng, 1, K).repeat(L, 0), centred(rng, K, K)
    y = 80 + main[np.arange(L), C - 1].sum(axis=1) + pair[C[:, 0] - 1, C[:, 2] - 1]
    assert np.allclose(effects(bench(y)).smooth, y)
    toy = bench(y, noise=1.0)
    assert np.allclose(smoothed(toy).mean(axis=1), effects(toy).smooth)
    noisy = [effects(bench(y, noise=1.0, seed=s)) for s in range(60)]
    measured = np.sqrt(np.mean([(e.smooth - y) ** 2 for e in noisy]))
    assert np.isclose(measured, np.mean([e.smooth_error for e in noisy]), rtol=0.05)


def test_noise_alone_is_not_taken_for_effects():
    """Over many benchmarks of noise, parts are above noise by 0 on average, within their bars."""
    tables = [effects(bench(np.zeros(len(C)), 1.0, seed=s)).shares() for s in range(300)]
    above = np.array([t.above for t in tables])
    assert np.abs(above.mean(axis=0)).max() < 0.02
    inside = np.mean([np.abs(t.above) <= t.half for t in tables], axis=0)
    assert (inside > 0.85).all()


def test_pairs_of_no_effect_are_told_from_the_one_that_has_one():
    y = np.where((C[:, 0] == 3) & (C[:, 2] == 3), 2.0, 0.0)
    table = effects(bench(y, noise=0.05)).pair_shares()
    assert np.nanargmax(table) == 2 and np.isnan(table.diagonal()).all()
    assert np.allclose(table, table.T, equal_nan=True)


def test_main_effects_of_costs_are_their_averages():
    macs = C.prod(axis=1).astype(float)
    wide = macs[C[:, 2] == 3].mean() - macs.mean()
    assert np.isclose(main_effects(macs, L, K)[2, 2], wide)
    with pytest.raises(ValueError, match="all 81 networks of 4 groups, got shape"):
        main_effects(macs[:80], L, K)


def test_the_best_by_luck_are_found_out_by_another_run():
    toys = [bench(np.zeros(len(C)), noise=1.0, seed=s) for s in range(40)]
    chosen, judged = np.mean([held_out(t.accuracies, t.macs, 81) for t in toys], axis=0)
    assert chosen > 1.2 and abs(judged) < 0.3
    chosen, judged = np.mean([held_out(smoothed(t), t.macs, 81) for t in toys], axis=0)
    assert chosen > 0.5 and abs(judged) < 0.2


def test_the_best_that_are_sure_are_chosen_and_kept():
    sure = bench(C.sum(axis=1))
    table = sure.accuracies, sure.macs
    assert held_out(*table, budget=81, top=2) == (11.5, 11.5)  # 3333, and one of four with a 2
    assert held_out(*table, budget=1) == (4.0, 4.0)
    with pytest.raises(ValueError, match="1 networks fit 1 MACs, too few to choose 2"):
        held_out(*table, budget=1, top=2)


def test_best_widths_within_a_budget():
    toy = bench(10 * C[:, 0] + C[:, 1:].sum(axis=1))
    found = widths_by_budget(toy, [0.01, 3 / 81, 1.0], top=1)
    assert np.isnan(found[:, 0]).all()
    assert found[:, 1].tolist() == [3, 1, 1, 1] and found[:, 2].tolist() == [3, 3, 3, 3]


def test_one_run_says_nothing_about_noise():
    with pytest.raises(ValueError, match="'toy' has one run a network"):
        effects(bench(np.zeros(len(C)), runs=1))
