"""Settled widths are within the budget, use it up, and follow the preferences."""

import numpy as np
import pytest
import small
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bcnet_lib.cost import CostTable
from bcnet_lib.search import BudgetError
from bcnet_lib.search.settle import settle

PROBLEMS = []
for build, K in ((small.residual, 5), (small.mobile, 8), (small.concat, 20)):
    model = build()
    space = small.space(model, K=K)
    PROBLEMS.append((space, CostTable(model, space, torch.zeros(1, 1, 8, 8))))


def neighbours(space, c, by):
    for i, candidates in enumerate(space.candidates):
        k = int(np.searchsorted(candidates, c[i])) + by
        if 0 <= k < len(candidates):
            other = c.copy()
            other[i] = candidates[k]
            yield other


@settings(max_examples=60, deadline=None)
@given(
    which=st.integers(0, len(PROBLEMS) - 1),
    share=st.floats(0, 0.999),
    seed=st.integers(0, 10_000),
    per_mac=st.booleans(),
    scale=st.sampled_from([1e-9, 1.0, 1e9]),
)
def test_it_never_goes_over_the_budget_and_uses_it_up(which, share, seed, per_mac, scale):
    space, cost = PROBLEMS[which]
    least, most = cost.macs(space.narrowest), cost.macs(space.full)
    budget = least + share * (most - least)
    rng = np.random.default_rng(seed)
    tables = [scale * rng.normal(size=len(c)) for c in space.candidates]
    c = settle(space, cost, budget, tables, per_mac=per_mac)
    assert all(w in candidates for w, candidates in zip(c, space.candidates, strict=True))
    assert cost.macs(c) <= budget
    assert all(cost.macs(wider) > budget for wider in neighbours(space, c, +1))
    again = settle(space, cost, budget, tables, per_mac=per_mac)
    np.testing.assert_array_equal(c, again)


def test_a_preference_that_fills_the_budget_is_kept():
    space, cost = PROBLEMS[1]
    wanted = space.sample(np.random.default_rng(0), 1)[0]
    tables = [-np.abs(c - w) for c, w in zip(space.candidates, wanted, strict=True)]
    np.testing.assert_array_equal(settle(space, cost, cost.macs(wanted), tables), wanted)


def test_a_group_that_nobody_wants_narrow_stays_wide_the_longest():
    space, cost = PROBLEMS[0]
    budget = cost.macs(space.full) * 0.4
    for i in range(space.L):
        tables = [
            np.arange(len(c)) * (1e6 if j == i else 1.0) for j, c in enumerate(space.candidates)
        ]
        c = settle(space, cost, budget, tables)
        assert c[i] == max(w[i] for w in everything(space) if cost.macs(w) <= budget), space.groups[
            i
        ].name


def everything(space):
    return np.stack(np.meshgrid(*space.candidates), axis=-1).reshape(-1, space.L)


def test_it_refuses_what_it_cannot_do():
    space, cost = PROBLEMS[0]
    flat = [np.zeros(len(c)) for c in space.candidates]
    with pytest.raises(BudgetError, match="below the narrowest"):
        settle(space, cost, cost.macs(space.narrowest) - 1, flat)
    with pytest.raises(ValueError, match="'a.0' must hold 5 finite numbers"):
        settle(space, cost, 1e4, [flat[0], flat[1][:-1]])
    with pytest.raises(ValueError, match="finite"):
        settle(space, cost, 1e4, [flat[0], flat[1] * np.nan])
