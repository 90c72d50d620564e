"""Latency tables: times come from a timer that is handed in, so that nothing here measures time."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import zoo
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import cnn
from torch import Tensor, nn

from bcnet_lib import CostTable, WidthSpace, checkpoint
from bcnet_lib.calls import channel_row, trace_calls
from bcnet_lib.checkpoint import CheckpointError
from bcnet_lib.graph import GraphError
from bcnet_lib.latency import Call, LatencyTable, measure_latency, stopwatch
from bcnet_lib.latency_check import check_latency
from bcnet_lib.search import BudgetError, evolve, random_search, uniform

X = torch.zeros(1, 1, 8, 8)


def work(module, *inputs) -> float:
    """A time that is known: linear in the channels read, and in the size of the weights."""
    return (3 * inputs[0].numel() + sum(p.numel() for p in module.parameters())) / 1e4


def whole(network, images) -> float:
    """The same time for a whole network, by adding up the calls of its leaves."""
    times = []
    for module in network.modules():
        if not any(module.children()):
            module.register_forward_hook(lambda m, x, out: times.append(work(m, *x)))
    with torch.no_grad():
        network(images)
    return sum(times)


def table_of(model, space, timer=work, **options) -> LatencyTable:
    options = {"repeats": 1, "progress": False} | options
    return measure_latency(model, space, timer=timer, **options)


MODEL = cnn((32, 48, 64))
SPACE = WidthSpace.from_model(MODEL, X, K=16)
TABLE = table_of(MODEL, SPACE, batch=2)
COST = CostTable(MODEL, SPACE, X).with_latency(TABLE)
NET = SimpleNamespace(space=SPACE, cost=COST)


# the sum of layers


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_prediction_is_the_sum_over_the_calls_of_the_built_network(seed):
    c = SPACE.sample(np.random.default_rng(seed), 1)[0]
    network = SPACE.build(MODEL, c, seed=0).eval()
    assert COST.latency(c) == pytest.approx(whole(network, torch.ones(2, 1, 8, 8)), rel=1e-9)


def mixed():
    """A shortcut, a depthwise and a grouped convolution, a concatenation and a gate."""

    def run(self, x):
        a = self.norm(self.stem(x))
        a = a + self.narrow(self.relu(self.deep(self.wide(a))))
        b = torch.cat([self.left(a), self.blocks(self.right(a))], 1)
        b = b * self.gate(self.squeeze(self.pool(b)))
        return self.head(self.flat(self.pool(b)))

    conv = nn.Conv2d
    return zoo.Net(
        run, stem=conv(1, 16, 3, padding=1), norm=nn.BatchNorm2d(16), wide=conv(16, 48, 1),
        deep=conv(48, 48, 3, padding=1, groups=48), relu=nn.ReLU(), narrow=conv(48, 16, 1),
        left=conv(16, 24, 1), right=conv(16, 32, 1), blocks=conv(32, 32, 3, padding=1, groups=4),
        pool=nn.AdaptiveAvgPool2d(2), squeeze=conv(56, 16, 1), gate=conv(16, 56, 1),
        flat=nn.Flatten(), head=nn.Linear(224, 5),
    )  # fmt: skip


def check_sum(model, x, grid, rtol):
    space = WidthSpace.from_model(model, x, K=4, base=2)
    cost = CostTable(model, space, x).with_latency(table_of(model, space, grid=grid))
    C = np.stack([space.narrowest, space.full, *space.sample(np.random.default_rng(0), 6)])
    true = [whole(space.build(model, c, seed=0).eval(), torch.ones(1, *x.shape[1:])) for c in C]
    np.testing.assert_allclose(cost.latency(C), true, rtol=rtol)


def test_it_is_with_shortcuts_gates_blocks_and_concatenations():
    model = mixed()
    model.gate = nn.Sequential(model.gate, nn.AdaptiveAvgPool2d(1), nn.Sigmoid())
    check_sum(model, torch.zeros(1, 1, 8, 8), grid=3, rtol=1e-9)


def test_it_is_on_a_residual_network():
    check_sum(zoo.make("resnet18"), torch.zeros(1, 3, 32, 32), grid=2, rtol=1e-9)


def test_many_widths_at_once_equal_one_by_one_and_the_layers_add_up():
    C = SPACE.sample(np.random.default_rng(0), 50)
    many = COST.latency(C)
    assert many.shape == (50,) and many.dtype == np.float64
    assert many.tolist() == [COST.latency(c) for c in C]
    layers = TABLE.layers(SPACE.channels(C[0]))
    assert layers.sum() == pytest.approx(many[0]) and list(layers.index[:3]) == ["0", "1", "2"]
    assert isinstance(COST.latency(C[0]), float)


def test_overhead_and_scale_are_a_line():
    line = CostTable(MODEL, SPACE, X).with_latency(replace(TABLE, overhead=5.0, scale=2.0))
    C = SPACE.sample(np.random.default_rng(0), 5)
    np.testing.assert_allclose(line.latency(C), 5 + 2 * COST.latency(C))


def test_alike_calls_are_timed_once():
    asked = []

    def spy(module, *inputs):
        asked.append((repr(module), inputs[0].shape))
        return 1.0

    model = nn.Sequential(
        *[nn.Conv2d(8, 8, 1) for _ in range(4)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )
    x = torch.zeros(1, 8, 4, 4)
    space = WidthSpace.from_model(model, x, K=8)
    table = table_of(model, space, timer=spy, grid=3)
    # the first convolution (3 widths out), those after it (3 x 3), pool, flatten, linear (3 each)
    assert len(table.calls) == 7 and len(asked) == 3 + 9 + 3 + 3 + 3


def test_the_fastest_of_the_rounds_counts():
    times = iter(range(1000, 0, -1))
    table = table_of(MODEL, SPACE, timer=lambda *_: next(times), repeats=4, grid=2)
    points = sum(np.size(call.ms) for call in table.calls)
    assert max(np.max(call.ms) for call in table.calls) <= 1000 - 3 * points


# interpolation


def call(grid_in=(4, 8, 16), grid_out=(2, 10)):
    ms = tuple(tuple(float(10 * i + j) for j in range(len(grid_out))) for i in range(len(grid_in)))
    one_in, one_out = len(grid_in) > 1, len(grid_out) > 1
    return Call(
        layer="x", inputs=(0, int(one_in), 0), outputs=(0, 0, int(one_out)),
        grid_in=grid_in, grid_out=grid_out, ms=ms,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("grid_in", "grid_out"),
    [((4, 8, 16), (2, 10)), ((3,), (1, 2, 7)), ((1, 2, 7), (3,)), ((3,), (3,))],
)
def test_grid_points_are_met_exactly(grid_in, grid_out):
    one = call(grid_in, grid_out)
    for i, a in enumerate(grid_in):
        for j, b in enumerate(grid_out):
            assert one(np.array([[a, b]]))[0] == one.ms[i][j]


@settings(max_examples=50, deadline=None)
@given(a=st.integers(1, 20), b=st.integers(1, 12))
def test_between_grid_points_the_value_lies_between_theirs(a, b):
    one = call()
    here = one(np.array([[a, b]]))[0]
    more = one(np.array([[a + 1, b], [a, b + 1]]))
    assert 0 <= here <= 21 and (more >= here).all()  # this table rises along both sides
    expected = np.interp(a, (4, 8, 16), (0, 10, 20)) + np.interp(b, (2, 10), (0, 1))
    assert here == pytest.approx(expected)


# shapes


def test_shapes_follow_the_widths():
    calls = dict(trace_calls(MODEL, SPACE, batch=5))
    inputs, outputs = calls["3"]  # the second convolution
    np.testing.assert_array_equal(inputs, [[5, 0, 0, 0], [0, 1, 0, 0], [8, 0, 0, 0], [8, 0, 0, 0]])
    np.testing.assert_array_equal(outputs[1], [0, 0, 1, 0])
    assert calls["12"][1].tolist() == [[5, 0, 0, 0], [10, 0, 0, 0]]


def test_an_input_that_changes_along_two_dimensions_is_refused_by_name():
    class Gram(nn.Module):
        """Channels by channels, as a style loss has them."""

        def forward(self, x):
            a = x.flatten(2)  # (B, C, H W)
            return self.norm(a @ a.transpose(1, 2)).sum(2)[..., None, None].expand_as(x) * x

        def __init__(self):
            super().__init__()
            self.norm = nn.Identity()

    graph = replace(SPACE.graph, example_shape=(1, 8, 8))
    calls = trace_calls(nn.Sequential(*MODEL[:9], Gram()), SimpleNamespace(graph=graph), batch=1)
    with pytest.raises(GraphError, match=r"'9.norm' changes with the widths along 2 of its 3"):
        channel_row("9.norm", dict(calls)["9.norm"][0])


# files and errors


def test_a_table_comes_back_from_its_file(tmp_path):
    TABLE.save(tmp_path / "table.json")
    again = LatencyTable.load(tmp_path / "table.json")
    assert again == TABLE and isinstance(again.calls[0], Call)
    assert (again.batch, again.threads, again.torch) == (2, 1, torch.__version__)
    assert again.device == "cpu" and again.hardware
    for other in (b"3", b"null", b"[1]", b"{}", b'{"calls": [3]}'):
        checkpoint.write(tmp_path / "table.json", other)
        with pytest.raises(CheckpointError, match="table.json' is not a latency table"):
            LatencyTable.load(tmp_path / "table.json")
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        LatencyTable.load(tmp_path / "table.json")


def test_a_cost_table_without_latencies_says_how_to_measure_them():
    with pytest.raises(ValueError, match=r"measure_latency\(model, space\).*with_latency\(table\)"):
        CostTable(MODEL, SPACE, X).latency(SPACE.full)


def test_a_table_of_another_network_is_refused():
    other = cnn((16, 48, 64))
    space = WidthSpace.from_model(other, X, K=16)
    TABLE.fits(WidthSpace.from_model(MODEL, X, K=8, base=2))  # a smaller space of the same network
    with pytest.raises(
        ValueError, match="knows group '0' with 1 to 16 channels, the space has 2 to 32"
    ):
        CostTable(MODEL, SPACE, X).with_latency(table_of(other, space))
    deeper = nn.Sequential(nn.Conv2d(1, 1, 1), *MODEL)
    with pytest.raises(ValueError, match="group '.*' is only in the"):
        TABLE.fits(WidthSpace.from_model(deeper, X, K=4))
    big = WidthSpace.from_model(MODEL, torch.zeros(1, 1, 16, 16), K=16)
    with pytest.raises(
        ValueError, match=r"images of shape \(1, 8, 8\), the space .* \(1, 16, 16\)"
    ):
        TABLE.fits(big)


@pytest.mark.parametrize("option", ["batch", "threads", "repeats", "grid"])
def test_nonsense_options_are_refused(option):
    with pytest.raises(ValueError, match=f"{option} must be an integer of at least"):
        table_of(MODEL, SPACE, **{option: 0})


# the check


def test_the_check_finds_no_error_where_there_is_none():
    check = check_latency(MODEL, SPACE, TABLE, n=8, timer=whole, progress=False)
    assert check.errors.loc["sum of layers", "median"] < 1e-9
    assert check.errors.loc["line through MACs", "90 %"] > 1e-3
    assert len(check.table) == 8 and check.errors.networks.tolist() == [4] * 4
    rows = check.table[["c1", "c2", "c3"]].to_numpy().tolist()
    assert [16] * 3 in rows and [1] * 3 in rows


def test_the_check_repairs_a_line():
    def late(network, images):
        return 7 + 1.5 * whole(network, images)

    check = check_latency(MODEL, SPACE, TABLE, n=9, timer=late, progress=False)
    assert check.errors.loc["sum of layers", "median"] > 0.3
    assert check.errors.loc["line through sums", "90 %"] < 1e-9
    fitted = check.fitted
    assert (fitted.overhead, fitted.scale) == (pytest.approx(7), pytest.approx(1.5))
    again = check_latency(MODEL, SPACE, fitted, n=6, timer=late, seed=3, progress=False)
    assert again.errors.loc["sum of layers", "90 %"] < 1e-9
    assert again.fitted.scale == pytest.approx(1.5)  # a fit of a fitted table changes nothing
    with pytest.raises(ValueError, match="needs n >= 4 networks, got 3"):
        check_latency(MODEL, SPACE, TABLE, n=3, timer=late)


def test_the_stopwatch_divides_by_the_calls_it_made():
    now = [0.0]

    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            now[0] += 0.25
            return x

    timer = stopwatch(clock=lambda: now[0], least=1.0)
    before = now[0]
    assert timer(Slow(), torch.ones(1)) == 250.0
    assert now[0] - before == 0.25 * (1 + 1 + 4)


# as a budget


def score(c):
    return float(np.sqrt(np.asarray(c)).sum())


@settings(max_examples=6, deadline=None)
@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 50))
def test_no_search_goes_over_a_latency_budget(share, seed):
    least, most = COST.latency(SPACE.narrowest), COST.latency(SPACE.full)
    budget = least + share * (most - least)
    assert COST.latency(uniform(SPACE, COST, budget, "latency")) <= budget
    options = {"budget": budget, "measure": "latency", "score": score, "progress": False}
    found = evolve(NET, None, population=6, generations=3, seed=seed, **options)
    assert found.history.latency.max() <= budget and COST.latency(found.best) <= budget
    assert found.objectives == ("latency",) and " ms, best" in repr(found)
    try:
        found = random_search(NET, None, n=3, seed=seed, max_draws=2000, **options)
    except BudgetError as error:
        assert " ms:" in str(error)
    else:
        assert found.history.latency.max() <= budget


def test_a_search_by_latency_without_a_table_says_so_at_once():
    net = SimpleNamespace(space=SPACE, cost=CostTable(MODEL, SPACE, X))
    with pytest.raises(ValueError, match="holds no latencies"):
        evolve(net, None, budget=5.0, measure="latency", score=score)
    with pytest.raises(ValueError, match="holds no latencies"):
        evolve(net, None, budget=3e5, objectives=["macs", "latency"], score=score)


def test_a_search_by_latency_resumes_with_its_own_table_only(tmp_path):
    options = {"budget": 0.6 * COST.latency(SPACE.full), "measure": "latency", "score": score,
               "population": 6, "objectives": ("latency", "macs"), "progress": False}  # fmt: skip
    whole_search = evolve(NET, None, generations=5, **options)
    file = tmp_path / "search.json"
    evolve(NET, None, generations=2, checkpoint=file, **options)
    again = evolve(NET, None, generations=5, checkpoint=file, **options)
    assert again.history.equals(whole_search.history) and again.front.equals(whole_search.front)
    other = COST.with_latency(replace(TABLE, scale=0.9))
    with pytest.raises(CheckpointError, match="latencies is"):
        evolve(NET, None, generations=5, checkpoint=file, cost=other, **options)
