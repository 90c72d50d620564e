"""Prior sampling: optimal where the optimum is known, certified elsewhere, within its budget."""

import itertools
import warnings
from pathlib import Path
from types import SimpleNamespace

import cvxpy as cp
import numpy as np
import pytest
import torch
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import RECIPE, cnn, supernet

from bcnet_lib.cost import CostTable
from bcnet_lib.data import load
from bcnet_lib.models import mobilenet_v2_cifar
from bcnet_lib.principles import WidthError
from bcnet_lib.results import Record
from bcnet_lib.search import BudgetError, fit_prior, layer_errors
from bcnet_lib.search.alternation import Alternation, best_pairs, entropy, two_widths
from bcnet_lib.search.bounds import elimination, gibbs_bound, lagrangian, least, mccormick
from bcnet_lib.search.prior import certified
from bcnet_lib.search.qcqp import QCQP
from bcnet_lib.search.released import released_prior
from bcnet_lib.space import WidthSpace
from bcnet_lib.train import SupernetTrainer


def random_problem(rng, most_groups=6, most_widths=4) -> QCQP:
    """Groups coupled in a chain and at random besides, errors that fall with width or do not."""
    L, K = rng.integers(2, most_groups + 1), rng.integers(2, most_widths + 1)
    channels = [np.sort(rng.integers(1, 20, K)) for _ in range(L)]
    density, pairs = rng.random(), {}
    for i, j in itertools.combinations(range(L), 2):
        if j == i + 1 or rng.random() < density:
            pairs[i, j] = rng.integers(1, 5) * np.outer(channels[i], channels[j]).astype(float)
    unary = tuple(rng.integers(1, 20) * c.astype(float) for c in channels)
    errors = tuple(e if rng.random() < 0.5 else np.sort(e)[::-1] for e in rng.random((L, K)))
    whole = QCQP(errors=errors, unary=unary, pairs=pairs)
    least, most = (whole.cost(whole.point([k] * L)) for k in (0, K - 1))
    budget = least + rng.uniform(0.05, 0.9) * (most - least)
    pairs = {ij: table / budget for ij, table in pairs.items()}
    return QCQP(errors=errors, unary=tuple(u / budget for u in unary), pairs=pairs)


def networks(problem):
    """Error and cost of every network, arrays (K_1, …, K_L)."""
    shape, L = [len(e) for e in problem.errors], problem.L

    def along(table, *axes):
        return table.reshape([shape[a] if a in axes else 1 for a in range(L)])

    error, cost = np.zeros(shape), np.full(shape, problem.constant)
    for i in range(L):
        error, cost = error + along(problem.errors[i], i), cost + along(problem.unary[i], i)
    for (i, j), table in problem.pairs.items():
        cost = cost + along(table, i, j)
    return error, cost


def best_with_one_undecided(problem) -> float:
    """The least expected error where at most one group is on two widths, by enumeration."""
    error, cost = networks(problem)
    best = error[cost <= 1].min()
    for i in range(problem.L):
        e, f = (np.moveaxis(a, i, -1).reshape(-1, error.shape[i]) for a in (error, cost))
        for a, b in itertools.permutations(range(error.shape[i]), 2):
            mix = (f[:, a] <= 1) & (f[:, b] > 1)
            if mix.any():
                t = (1 - f[mix, a]) / (f[mix, b] - f[mix, a])
                best = min(best, ((1 - t) * e[mix, a] + t * e[mix, b]).min())
    return float(best)


def best_on_a_grid(problem, steps: int) -> float:
    """The least expected error over all distributions in multiples of 1 / steps."""
    error, cost = networks(problem)
    for e in problem.errors[::-1]:  # contract the last axis with every grid point, to the front
        grid = [p for p in itertools.product(range(steps + 1), repeat=len(e)) if sum(p) == steps]
        grid = np.array(grid) / steps  # (G, K)
        error, cost = (np.tensordot(grid, a, (1, problem.L - 1)) for a in (error, cost))
    return float(error[cost <= 1 + 1e-12].min())


def solve(problem, starts=4, temperature=0.0):
    """``fit_prior`` without a network around it."""
    from bcnet_lib.search.prior import best_distributions

    return best_distributions(problem, temperature=temperature, starts=starts, seed=0)


# against brute force


def test_200_random_instances_are_solved_to_the_optimum():
    rng = np.random.default_rng(0)
    for _ in range(200):
        problem = random_problem(rng)
        P, bound, _ = solve(problem)
        optimum = best_with_one_undecided(problem)
        assert abs(problem.value(P) - optimum) < 1e-6
        assert bound <= optimum + 1e-9 and problem.cost(P) <= 1 + 1e-8


def test_no_distribution_on_a_fine_grid_is_better():
    rng = np.random.default_rng(1)
    for most_groups, most_widths, steps in ((2, 4, 20), (3, 3, 20), (5, 2, 20)):
        for _ in range(20):
            problem = random_problem(rng, most_groups, most_widths)
            P, bound, _ = solve(problem)
            grid = best_on_a_grid(problem, steps)
            assert problem.value(P) <= grid + 1e-9  # so one undecided group is enough
            assert bound <= problem.value(P) + 1e-9
            coarse = sum(np.ptp(e) for e in problem.errors) / steps
            assert grid - problem.value(P) <= 2 * coarse


def test_blocks_alone_are_stuck_where_steps_on_two_groups_are_not():
    """Error (4, 0) on both groups, cost c1 c2 within 1: mixtures of one group beat both halves."""
    product = np.outer([0.2, 2.0], [0.2, 2.0])
    errors = (np.array([4.0, 0.0]), np.array([4.0, 1.0]))
    problem = QCQP(errors=errors, unary=(np.zeros(2), np.zeros(2)), pairs={(0, 1): product})
    stuck = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]  # the second group alone took it all
    blocks = Alternation(problem, 0.0)
    P = stuck
    for program in blocks.programs:
        P = program.solve(P)
    better = best_pairs(problem, P)
    assert problem.value(better) < problem.value(P) - 0.1 and problem.cost(better) <= 1 + 1e-9
    assert abs(problem.value(blocks.run(stuck)) - best_with_one_undecided(problem)) < 1e-9


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_two_widths_solve_a_linear_program_over_one_group(seed):
    rng = np.random.default_rng(seed)
    K, n = rng.integers(2, 6), 3
    error, slope, room = rng.random(K), rng.random((K, n)), rng.random(n)
    value, x, y, t = two_widths(error, slope, room)
    from scipy.optimize import linprog

    for k in range(n):
        lp = linprog(error, slope[None, :, k], room[k : k + 1], np.ones((1, K)), [1.0])
        if lp.status == 2:
            assert np.isinf(value[k])
        else:
            assert abs(lp.fun - value[k]) < 1e-9
            assert (1 - t[k]) * slope[x[k], k] + t[k] * slope[y[k], k] <= room[k] + 1e-12


def test_the_problem_is_no_convex_one():
    """The quadratic form of Eq. 15 has eigenvalues of both signs, and cvxpy refuses the problem."""
    space, cost = graph("resnet18")
    problem = QCQP.from_cost(some_errors(space), cost, 0.5 * cost.macs(space.full))
    sizes = [len(e) for e in problem.errors]
    place = np.cumsum([0, *sizes])
    form = np.zeros((place[-1],) * 2)
    for (i, j), table in problem.pairs.items():
        form[place[i] : place[i + 1], place[j] : place[j + 1]] = table / 2
    values = np.linalg.eigvalsh(form + form.T)
    assert values[0] < -0.01 and values[-1] > 0.01
    P = [cp.Variable(n, nonneg=True) for n in sizes]
    product = sum(P[i] @ table @ P[j] for (i, j), table in problem.pairs.items())
    value = sum(e @ p for e, p in zip(problem.errors, P, strict=True))
    whole = cp.Problem(cp.Minimize(value), [*(cp.sum(p) == 1 for p in P), product <= 1])
    with pytest.raises(cp.DCPError):
        whole.solve()


# bounds


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), price=st.floats(0, 5))
def test_elimination_finds_the_least_of_all_networks(seed, price):
    problem = random_problem(np.random.default_rng(seed), 5, 4)
    order, _ = elimination(problem)
    error, cost = networks(problem)
    total = error + price * cost
    value, k = least(problem, price, order)
    assert abs(value - total.min()) < 1e-9 and abs(total[tuple(k)] - value) < 1e-9
    soft, _ = least(problem, price, order, temperature=0.3)
    assert abs(soft + 0.3 * np.log(np.exp(-total / 0.3).sum())) < 1e-9


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_bound_exceeds_the_optimum_and_the_lagrangian_is_the_tighter_one(seed):
    problem = random_problem(np.random.default_rng(seed), 5, 3)
    optimum = best_with_one_undecided(problem)
    dual = lagrangian(problem, elimination(problem)[0])
    weak, relaxed = mccormick(problem)
    assert weak <= optimum + 1e-7 and dual.bound <= optimum + 1e-9
    assert all(abs(p.sum() - 1) < 1e-9 for p in relaxed)
    assert problem.cost(problem.point(dual.below)) <= 1
    for price in np.linspace(0, 4, 30):  # it is the best of all prices
        assert least(problem, price, elimination(problem)[0])[0] - price <= dual.bound + 1e-9


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), temperature=st.sampled_from([0.02, 0.2]))
def test_with_a_temperature_the_bound_holds_for_random_distributions(seed, temperature):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 4, 4)
    P, bound, _ = solve(problem, starts=2, temperature=temperature)
    order, _ = elimination(problem)
    assert bound <= mccormick_ok(problem, P, temperature) + 1e-6
    assert gibbs_bound(problem, order, temperature)[0] <= bound + 1e-9
    mine = problem.value(P) - temperature * entropy(P)
    for _ in range(200):
        Q = [rng.dirichlet(np.ones(len(e))) for e in problem.errors]
        if problem.cost(Q) <= 1:
            assert bound <= problem.value(Q) - temperature * entropy(Q) + 1e-9
            assert mine <= problem.value(Q) - temperature * entropy(Q) + 0.05
    assert problem.cost(P) <= 1 + 1e-6


def mccormick_ok(problem, P, temperature):
    assert mccormick(problem, temperature)[0] <= problem.value(P) - temperature * entropy(P) + 1e-5
    return problem.value(P) - temperature * entropy(P)


# real graphs


def graph(name, size=64, K=20, base=1):
    model, x = zoo.make(name, 1000, device="meta"), torch.empty(1, 3, size, size)
    space = WidthSpace.from_model(model, x, K=K, base=base)
    return space, CostTable(model, space, x)


def some_errors(space, seed=0):
    """Errors that fall with width by another amount in every group, and noise."""
    rng = np.random.default_rng(seed)
    wide = np.arange(1, space.K + 1) / space.K
    slope = rng.uniform(0.05, 0.5, (space.L, 1))
    return 2 + slope * (1 - wide) ** 2 + rng.normal(0, 0.01, (space.L, space.K))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50", "efficientnet_b0"])
@pytest.mark.parametrize("share", [0.2, 0.5])
def test_on_real_coupling_graphs_the_gap_is_certified_below_one_percent(name, share):
    space, cost = graph(name)
    budget = share * cost.macs(space.full)
    prior = fit_prior(some_errors(space), cost, budget, starts=1)
    assert 0 <= prior.gap < 0.01 and prior.bound <= prior.value
    assert prior.macs <= budget * (1 + 1e-6) and not prior.slack
    assert all(len(p) == space.K for p in prior.P)
    assert all(abs(p.sum() - 1) < 1e-12 and (p >= 0).all() for p in prior.P)


def test_expected_macs_are_those_of_sampled_networks():
    space, cost = graph("resnet18")
    prior = fit_prior(some_errors(space), cost, 0.4 * cost.macs(space.full), temperature=0.1)
    rng = np.random.default_rng(0)
    columns = zip(space.base, prior.P, strict=True)
    C = np.stack([b + rng.choice(len(p), 200_000, p=p) for b, p in columns], axis=1)
    macs = cost.macs(C)
    assert abs(macs.mean() - prior.macs) < 5 * macs.std() / np.sqrt(len(macs))


def test_a_dense_graph_falls_back_on_envelopes(monkeypatch):
    space, cost = graph("squeezenet1_0")
    budget, errors = 0.4 * cost.macs(space.full), some_errors(space)
    exact = fit_prior(errors, cost, budget, starts=1)
    monkeypatch.setattr("bcnet_lib.search.prior.LARGEST", 1)
    prior = fit_prior(errors, cost, budget, starts=1)
    assert prior.bound <= exact.bound + 1e-6 and prior.gap < 0.05
    assert prior.macs <= budget * (1 + 1e-6)


def test_real_records_of_a_supernet_give_a_certified_prior():
    net = supernet(K=8, base=2)
    trainer = SupernetTrainer(net, load("digits"), RECIPE, progress=False).fit(max_steps=30)
    errors = layer_errors(trainer.records, space=net.space)
    budget = 0.4 * net.cost.macs(net.space.full)
    prior = fit_prior(errors, net.cost, budget)
    assert prior.gap <= 0.01 and prior.macs <= budget * (1 + 1e-6)
    again = fit_prior(errors, net.cost, budget)
    assert all((p == q).all() for p, q in zip(prior.P, again.P, strict=True))


RECORD = Path(__file__).parents[1] / "figures/prior_records/digits/results.json"


@pytest.mark.parametrize("share", [0.15, 0.2, 0.25, 0.4])
def test_recorded_losses_of_mobilenet_v2_give_a_gap_below_one_percent(share):
    model = mobilenet_v2_cifar()
    model.features[0][0] = torch.nn.Conv2d(1, 32, 3, padding=1, bias=False)
    x = torch.zeros(1, 1, 8, 8)
    space = WidthSpace.from_model(model, x, K=20, base=5)
    cost = CostTable(model, space, x)
    table = Record.load(RECORD).frame()
    widths = np.array([list(map(int, c.split())) for c in table.widths])
    errors = layer_errors(SimpleNamespace(widths=widths, losses=table.loss), space=space)
    budget = share * cost.macs(space.full)
    prior = fit_prior(errors, cost, budget)
    assert space.L == 25 and space.K == 20
    assert prior.gap <= 0.01 and prior.macs <= budget * (1 + 1e-6) and prior.unseen == 0


# errors of widths (Eq. 13)

RECORDS = SimpleNamespace(
    widths=np.array([[1, 3], [2, 3], [1, 1], [1, 3]]), losses=np.array([8.0, 4.0, 2.0, 1.0])
)


def test_eq13_is_the_mean_over_the_last_m_passes_through_a_width():
    with pytest.warns(UserWarning, match="2 of the 6 widths never occur"):
        E = layer_errors(RECORDS, m=2)
    np.testing.assert_array_equal(E, [[1.5, 4.0, np.nan], [2.0, np.nan, 2.5]])
    with pytest.warns(UserWarning):
        np.testing.assert_array_equal(layer_errors(RECORDS)[0], [11 / 3, 4, np.nan])


def test_the_released_rule_averages_the_lowest_losses_of_all():
    with pytest.warns(UserWarning):
        E = layer_errors(RECORDS, m=3, keep="lowest")
    np.testing.assert_array_equal(E, [[1.5, 4.0, np.nan], [2.0, np.nan, 2.5]])
    with pytest.warns(UserWarning):
        assert layer_errors(RECORDS, m=1, keep="lowest")[0, 0] == 1.0


def test_widths_that_never_occur_are_interpolated_and_counted():
    net = supernet(K=8, base=2)
    E = np.full((3, 8), 2.0)
    E[0, [3, 4]] = np.nan  # widths 4 and 5
    E[0, 2], E[0, 5] = 1.0, 4.0
    E[1, 7] = np.nan
    budget = 0.5 * net.cost.macs(net.space.full)
    prior = fit_prior(E, net.cost, budget)
    assert prior.unseen == 3
    E[0, 3], E[0, 4], E[1, 7] = 2.0, 3.0, 2.0
    filled = fit_prior(E, net.cost, budget)
    assert filled.unseen == 0 and filled.value == prior.value
    rows = fit_prior([e[1:] for e in E], net.cost, budget)  # widths base..K only
    assert rows.value == filled.value


@pytest.mark.parametrize("wrong", [{"m": 0}, {"m": 1.5}, {"keep": "best"}])
def test_layer_errors_refuses_what_it_cannot_average(wrong):
    with pytest.raises(ValueError, match="trainer.records"):
        layer_errors(RECORDS, **wrong)
    with pytest.raises(ValueError, match="got 0"):
        layer_errors(SimpleNamespace(widths=np.empty((0, 2)), losses=[]))


# the prior's own promises


def fitted(temperature=0.0, share=0.4):
    net = supernet(K=8, base=2)
    space = net.space
    budget = share * net.cost.macs(space.full)
    errors = some_errors(space)
    return net, fit_prior(errors, net.cost, budget, temperature=temperature)


def test_the_papers_optimum_leaves_at_most_one_group_undecided():
    rng = np.random.default_rng(2)
    for _ in range(30):
        P, _, _ = solve(random_problem(rng))
        assert sum((p > 1e-9).sum() > 1 for p in P) <= 1
    net, prior = fitted()
    assert prior.undecided <= 1 and prior.support <= 2


def test_a_temperature_spreads_the_prior_and_costs_expected_error():
    values, entropies = [], []
    for temperature in (0.0, 0.01, 0.1, 1.0):
        _, prior = fitted(temperature)
        values.append(prior.value)
        entropies.append(entropy(prior.P))
    assert values == sorted(values) and entropies == sorted(entropies)


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.15, 0.9), seed=st.integers(0, 1000))
def test_samples_are_within_the_budget(share, seed):
    net, prior = fitted(0.2, share)
    C = prior.sample(np.random.default_rng(seed), 30)
    assert C.shape == (30, 3) and net.cost.macs(C).max() <= prior.budget
    net.space.check(C)
    D = prior.sample(np.random.default_rng(seed), 10, distinct=True)
    assert len(np.unique(D, axis=0)) == 10


def test_samples_follow_p_conditioned_on_the_budget():
    net, prior = fitted(0.05)
    space = net.space
    C = np.array(list(itertools.product(*(range(b, space.K + 1) for b in space.base))))
    chance = np.prod([p[C[:, i] - space.base[i]] for i, p in enumerate(prior.P)], axis=0)
    inside = net.cost.macs(C) <= prior.budget
    expected = chance * inside / chance[inside].sum()
    drawn = prior.sample(np.random.default_rng(0), 40_000)
    counts = np.zeros(len(C))
    index = {tuple(c): k for k, c in enumerate(C)}
    for c in drawn:
        counts[index[tuple(c)]] += 1
    assert np.abs(counts / len(drawn) - expected).sum() < 0.15
    assert counts[~inside].sum() == 0


def test_a_population_cannot_be_drawn_from_two_networks():
    _, prior = fitted()
    with pytest.raises(BudgetError, match="2 different networks.*higher temperature"):
        prior.sample(np.random.default_rng(0), 40, distinct=True)
    assert len(prior.sample(np.random.default_rng(0), 40)) == 40  # one network, 40 times


def test_budgets_that_bind_nothing_or_cannot_be_met_are_told():
    net = supernet(K=8, base=2)
    errors = some_errors(net.space)
    with pytest.raises(BudgetError, match="below the narrowest network"):
        fit_prior(errors, net.cost, net.cost.macs(net.space.narrowest) - 1)
    with pytest.warns(UserWarning, match="holds the whole network"):
        prior = fit_prior(errors, net.cost, net.cost.macs(net.space.full))
    assert prior.slack and prior.gap == 0 and "slack budget" in repr(prior)
    best = [int(e[1:].argmin()) for e in errors]
    assert [int(p.argmax()) for p in prior.P] == best


def test_errors_of_the_wrong_shape_name_the_group():
    net = supernet(K=8, base=2)
    budget = 0.5 * net.cost.macs(net.space.full)
    with pytest.raises(ValueError, match="2 rows, the space has 3 groups"):
        fit_prior(np.ones((2, 8)), net.cost, budget)
    with pytest.raises(ValueError, match="group '0' have shape"):
        fit_prior(np.ones((3, 5)), net.cost, budget)
    with pytest.raises(ValueError, match="no width of group '3' has an error"):
        fit_prior([np.ones(8), np.full(8, np.nan), np.ones(8)], net.cost, budget)
    for wrong in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="temperature"):
            fit_prior(np.ones((3, 8)), net.cost, budget, temperature=wrong)
    with pytest.raises(BudgetError, match="positive number"):
        fit_prior(np.ones((3, 8)), net.cost, np.inf)


def test_a_table_that_ends_below_the_full_width_is_not_taken_for_rows_from_the_base():
    net = supernet(K=8, base=2)
    widths = np.array([[w] * 3 for w in range(2, 8)])  # none is full
    table = layer_errors(SimpleNamespace(widths=widths, losses=np.array([7.0, 6, 5, 4, 3, 1])))
    assert table.shape == (3, 7)
    with pytest.raises(ValueError, match="space=space"):
        fit_prior(table, net.cost, net.cost.macs(net.space.full) / 2)


def test_records_that_are_none_of_the_space_are_refused_by_name():
    space = supernet(K=8, base=2).space

    def errors(widths, losses=(1.0, 2.0), **options):
        return layer_errors(SimpleNamespace(widths=np.array(widths), losses=losses), **options)

    with pytest.raises(WidthError, match="width 9 for group '3'"):
        errors([[2, 9, 3], [2, 2, 2]], space=space)
    with pytest.raises(WidthError, match="3 entries"):
        errors([[2, 3], [2, 2]], space=space)
    for widths in ([[0, 3], [2, 2]], [[2.0, 3.0], [2.0, 2.0]], [2, 3], [[2, 3]]):
        with pytest.raises(ValueError, match="integer widths >= 1"):
            errors(widths)


@pytest.mark.parametrize("temperature", [0.0, 0.1])
def test_a_budget_of_exactly_the_narrowest_network_gives_that_network(temperature):
    layers = [
        torch.nn.Conv2d(a, b, 3, padding=1) for a, b in ((3, 14), (14, 39), (39, 10), (10, 39))
    ]
    head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(39, 10)]
    model, x = torch.nn.Sequential(*layers, *head), torch.zeros(1, 3, 8, 8)
    space = WidthSpace.from_model(model, x, K=4)
    cost = CostTable(model, space, x)
    errors = np.tile([4.0, 3.0, 2.0, 1.0], (space.L, 1))
    assert QCQP.from_cost(errors, cost, cost.macs(space.narrowest)).cost(
        [np.eye(4)[0]] * space.L
    ) != pytest.approx(1, abs=0)  # its cost in budgets is not exactly 1
    for budget in (cost.macs(space.narrowest), cost.macs(space.narrowest) + 1):
        prior = fit_prior(errors, cost, budget, temperature=temperature)
        assert prior.bound <= prior.objective + 1e-12 and prior.macs <= budget * (1 + 1e-6)
        C = prior.sample(np.random.default_rng(0), 3)
        assert (space.narrowest == C).all()


@pytest.mark.parametrize("unit", [1e-8, 1e-3, 1e4, 1e8])
@pytest.mark.parametrize("temperature", [0.0, 0.05])
def test_the_unit_of_the_errors_does_not_matter(unit, temperature):
    net = supernet(K=8, base=2)
    errors, budget = some_errors(net.space), 0.4 * net.cost.macs(net.space.full)
    one = fit_prior(errors, net.cost, budget, temperature=temperature)
    other = fit_prior(unit * errors, net.cost, budget, temperature=unit * temperature)
    assert other.value == pytest.approx(unit * one.value, rel=1e-4)
    assert other.gap == pytest.approx(one.gap, abs=1e-3)


def test_no_widths_are_an_empty_population():
    _, prior = fitted(0.1)
    C = prior.sample(np.random.default_rng(0), 0)
    assert C.shape == (0, 3) and C.dtype == np.int64
    for wrong in (-1, 2.5):
        with pytest.raises(ValueError, match="n must be an integer of at least 0"):
            prior.sample(np.random.default_rng(0), wrong)


# the released recipe


def test_the_released_recipe_pulls_to_two_fifths_of_the_budget_and_is_no_better():
    net = supernet(K=8, base=2)
    errors, budget = some_errors(net.space), 0.6 * net.cost.macs(net.space.full)
    ours, theirs = fit_prior(errors, net.cost, budget), released_prior(errors, net.cost, budget)
    assert abs(theirs.macs / budget - 0.4) < 0.02
    assert theirs.value >= ours.value and theirs.bound == pytest.approx(ours.bound)
    assert theirs.undecided == net.space.L
    same = released_prior(errors, net.cost, budget)
    assert all((p == q).all() for p, q in zip(theirs.P, same.P, strict=True))


def test_certified_judges_any_distributions():
    model, x = cnn(), torch.zeros(1, 1, 8, 8)
    space = WidthSpace.from_model(model, x, K=4)
    cost = CostTable(model, space, x)
    budget = 0.5 * cost.macs(space.full)
    errors = some_errors(space)
    problem = QCQP.from_cost(errors, cost, budget)
    narrow = certified(problem, problem.point([0, 0, 0]), cost, budget)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        best = fit_prior(errors, cost, budget)
    assert narrow.macs == pytest.approx(cost.macs(space.narrowest))
    assert narrow.gap > best.gap and narrow.bound == pytest.approx(best.bound)
