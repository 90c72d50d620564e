"""Shared prefixes: the same logits and scores to the last bit, from fewer calls."""

import itertools
import warnings

import numpy as np
import pytest
import small
import tiny
import torch
import zoo
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from randomnet import RandomNet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from zoo import Net, conv, head

from bcnet_lib import (
    BC,
    UA,
    BCv2,
    CostTable,
    Cyclic,
    GraphError,
    Supernet,
    WidthSpace,
    evaluate_many,
)
from bcnet_lib.data import load
from bcnet_lib.models import macro_mobilenet, macro_resnet
from bcnet_lib.prefix import SharedPrefix, order, prefix_macs

NAMES = [
    *("mobilenet_v2", "resnet18", "resnext50_32x4d", "densenet121", "mobilenet_v3_small"),
    *("efficientnet_b0", "convnext_tiny", "squeezenet1_0", "googlenet", "shufflenet_v2_x1_0"),
]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def neighbours(space, rng, n):
    """Widths that share prefixes of every length, in no order, some of them twice."""
    C = np.tile(space.sample(rng, 1), (n, 1))
    for c in C:
        k = rng.integers(space.L + 1)
        c[k:] = space.sample(rng, 1)[0, k:]
    return rng.permutation(np.concatenate([C, C[: n // 3]]))


def assert_same(net, x, C, paths=None, reason=None):
    """Logits of a shared run equal those of every width alone, bit for bit."""
    net.eval()
    paths = range(net.n_paths) if paths is None else paths
    turns = [(c, path) for path in paths for c in C]
    with SharedPrefix(net) as run, warnings.catch_warnings():
        warnings.simplefilter("ignore" if reason else "error")
        run.start(x)
        shared = [run(c, path).clone() for c, path in turns]
        assert (run.reason is None) if reason is None else reason in run.reason
    for (c, path), y in zip(turns, shared, strict=True):
        with torch.no_grad():
            assert torch.equal(y, net(x.clone(), c, path)), (c, path)


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_those_of_every_width_alone(name):
    x = images(2, 3, 64, 64)
    model = zoo.make(name)
    space = WidthSpace.from_model(model, x, K=8, base=2)
    C = neighbours(space, np.random.default_rng(0), 4)
    assert_same(Supernet(model, space, BCv2(), seed=0), x, C)


@pytest.mark.parametrize("principle", [UA(), BC(), BCv2(), BCv2(overlap="paper"), Cyclic()])
@pytest.mark.parametrize("network", small.NETWORKS.values(), ids=small.NETWORKS)
def test_every_principle_shares(principle, network):
    x, model = images(3, 1, 8, 8), network()
    space = small.space(model)
    net = Supernet(model, space, principle, seed=0)
    assert_same(net, x, neighbours(space, np.random.default_rng(0), 12))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(0, 4))
def test_random_networks_share(seed, k):
    model, x = RandomNet(seed), images(3, 3, 8, 8)
    try:
        space = WidthSpace.from_model(model, x, K=5, base=2)
    except GraphError:  # a few have no layer whose width can change
        reject()
    principle = (UA(), BC(), BCv2(), BCv2(overlap="paper"), Cyclic())[k]
    rng = np.random.default_rng(seed)
    net = Supernet(model, space, principle, seed=0)
    assert_same(net, x, neighbours(space, rng, 6), paths=[int(rng.integers(net.n_paths))])


# --------------------------------------------------------------- forwards that are difficult


def odd(run, layers=None, K=4, x=None):
    layers = layers or {"a": conv(3, 8), "b": conv(8, 8), "c": conv(8, 8), "head": head(8)}
    model, x = Net(run, **layers), images(3, 3, 6, 6) if x is None else x
    space = WidthSpace.from_model(model, x, K=K)
    return Supernet(model, space, BC(), seed=0), x


def chain(self, x):
    return self.head(self.c(self.b(self.a(x))))


def assert_odd(run, layers=None, reason=None, x=None):
    net, x = odd(run, layers, x=x)
    C = list(itertools.product((2, 4), repeat=net.space.L))
    for seed in range(3):
        mixed = np.random.default_rng(seed).permutation(C)
        assert_same(net, x, mixed, reason=reason)
    assert_same(net, x, C, reason=reason)
    assert_same(net, x, C[::-1], reason=reason)


def test_a_later_call_writes_into_an_activation_that_two_cuts_need():
    def run(self, x):
        x = self.a(x)
        y = self.b(x)  # a cut: x is needed as it is here
        x.relu_()
        z = self.c(x)  # another cut: x is needed as it is now
        x += 1
        return self.head(y.tanh() + z) + x.mean()

    assert_odd(run)


def test_writes_through_views_slices_and_out():
    def run(self, x):
        x = self.a(x)
        rows = x.flatten(2)
        y = self.b(x)
        rows.mul_(2)
        x[:, :, 0] = 1.5
        z = self.c(x)
        torch.add(x, 1, out=x)
        rows.detach()[:, :, 3:].neg_()
        return self.head(z) + y.mean() + x.std() + rows.amax()

    assert_odd(run)


def test_writes_into_the_images():
    def run(self, x):
        x.sub_(0.5)
        y = self.b(torch.relu_(self.a(x)))
        x.mul_(2)
        return self.head(self.c(y)) + x.mean()

    x = images(3, 3, 6, 6)
    before = x.clone()
    assert_odd(run, x=x)
    assert torch.equal(x, before)


def test_the_same_activation_may_be_returned_split_and_stacked():
    def run(self, x):
        first, *rest = self.a(x).view(x.shape[0], -1, *x.shape[2:]).contiguous().unbind(1)
        values, places = torch.stack([first, *rest]).max(dim=0)
        y = self.b(torch.stack([first, *rest], 1)) + values[:, None]
        y = self.c(y) if float(y.sum()) == 0 else self.c(y).relu_()
        return self.head(y) + places.float().mean() + len(rest) * y.size(1)

    net, x = odd(chain)
    net.net.run = run  # the tracer has no rules for it, the shared run needs none
    C = np.random.default_rng(0).permutation(list(itertools.product((2, 4), repeat=net.space.L)))
    assert_same(net, x, C)


def test_control_flow_that_depends_on_the_data():
    def run(self, x):
        x = self.a(x)
        if x.is_meta or float(x.mean()) > 0:
            x = self.b(x).relu()
            x = x * 2
        else:
            x = self.c(x)
        if not x.is_meta and float(x.max()) > 1:
            x = x.clamp_(max=1)
        return self.head(x)

    def both(self, x):
        x = self.a(x)
        return self.head(self.b(x) + self.c(x))

    net, x = odd(both)
    net.net.run = run
    taken = set()
    for seed in range(6):
        torch.manual_seed(seed)
        with torch.no_grad():
            for p in net.parameters():
                p.copy_(torch.randn_like(p))
            taken |= {bool(net.net.a(x)[:, :k].mean() > 0) for k in (2, 4, 6, 8)}
        C = np.random.default_rng(seed).permutation(list(itertools.product((1, 2, 3, 4), repeat=2)))
        assert_same(net, x, C)
    assert taken == {False, True}


def test_layers_used_twice_and_groups_that_nothing_reads():
    def run(self, x):
        x = self.b(self.b(self.a(x)))
        return self.head(x + self.c(x))

    assert_odd(run)


def test_operations_that_cannot_be_seen_are_run_one_by_one():
    def run(self, x):
        x = self.b(self.a(x))
        with torch._C.DisableTorchFunction():  # as compiled code does
            x = x * 2
        return self.head(self.c(x))

    net, x = odd(chain)
    net.net.run = run
    C = list(itertools.product((2, 4), repeat=3))
    assert_same(net, x, C, reason="an operation that PyTorch does not show")


def test_unseen_writes_are_run_one_by_one():
    def run(self, x):
        x = self.a(x)
        with torch._C.DisableTorchFunction():
            x.relu_()
        return self.head(self.c(self.b(x)))

    net, x = odd(chain)
    net.net.run = run
    C = list(itertools.product((2, 4), repeat=3))
    assert_same(net, x, C, reason="written into by an unseen operation")


def test_forwards_that_change_their_weights_are_run_one_by_one():
    def run(self, x):
        self.counter.add_(1)
        return self.head(self.c(self.b(self.a(x))))

    net, x = odd(chain)
    net.net.register_buffer("counter", torch.zeros(()))
    net.net.run = run
    C = list(itertools.product((2, 4), repeat=3))
    assert_same(net, x, C, reason="changes a weight or buffer")


def test_forwards_that_remember_are_run_one_by_one():
    def run(self, x):
        self.calls = getattr(self, "calls", 0) + 1
        x = self.b(self.a(x))
        if self.calls % 2:
            x = x.relu()
        return self.head(self.c(x))

    net, x = odd(chain)
    net.net.run = run
    with SharedPrefix(net.eval()) as shared, pytest.warns(UserWarning, match="one by one"):
        shared.start(x)
        shared([4, 4, 4])
        shared([4, 4, 2])
    assert "other calls" in shared.reason


# ------------------------------------------------------------------------------- what it is for


def scores(net, C, data, **options):
    return [evaluate_many(net, C, data, share=s, per_path=True, **options) for s in (True, False)]


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
@pytest.mark.parametrize("principle", [UA(), BCv2(), Cyclic()])
def test_scores_are_those_one_by_one_in_the_callers_order(principle, metric):
    data, net = load("digits"), tiny.supernet(principle)
    C = neighbours(net.space, np.random.default_rng(1), 9)
    shared, plain = scores(net, C, data, metric=metric, batch_size=100)
    np.testing.assert_array_equal(shared, plain)
    assert len(np.unique(plain)) > 3
    np.testing.assert_array_equal(evaluate_many(net, C[:1], data), evaluate_many(net, C, data)[:1])


def test_bfloat16_and_channels_last_share_too():
    data, net = load("digits"), tiny.supernet()
    C = neighbours(net.space, np.random.default_rng(1), 6)
    single = evaluate_many(net, C, data, metric="loss")
    net.to(memory_format=torch.channels_last)
    shared, plain = scores(net, C, data, metric="loss", amp=True)
    np.testing.assert_array_equal(shared, plain)
    assert (plain.mean(axis=1) != single).all()
    np.testing.assert_allclose(plain.mean(axis=1), single, rtol=0.02)


def test_outputs_that_are_not_finite_name_the_first_width_and_path():
    data, net = load("digits"), tiny.supernet()
    with torch.no_grad():
        net.net[3].weight[8] = torch.nan  # seen by right paths, and by left ones at full width
    C = [[4, 3, 2], [3, 4, 5], [8, 8, 8]]
    errors = []
    for share in (True, False):
        with pytest.raises(ValueError, match=r"widths \[4, 3, 2\], path 1, gives") as error:
            evaluate_many(net, C, data, share=share)
        errors.append(str(error.value))
    assert errors[0] == errors[1]
    assert net.net[3].weight.shape == (10, 10, 3, 3)  # no slice is left behind


def test_supernets_of_other_kinds_and_hooks_are_asked_themselves():
    data, seen = load("digits"), []
    net = tiny.supernet()
    C = [[4, 3, 2], [3, 4, 5]]
    plain = evaluate_many(net, C, data)
    net.register_forward_hook(lambda *_: seen.append(1))
    np.testing.assert_array_equal(evaluate_many(net, C, data), plain)
    assert len(seen) == 4


def test_inference_mode_changes_nothing():
    data, net = load("digits"), tiny.supernet()
    C = net.space.sample(np.random.default_rng(0), 4)
    plain = evaluate_many(net, C, data, share=False)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(evaluate_many(net, C, data), plain)


def test_an_unknown_image_size_is_refused_as_before():
    model = nn.Sequential(conv(3, 8), nn.Flatten(), nn.Linear(8 * 36, 3))
    net = Supernet(model, WidthSpace.from_model(model, images(1, 3, 6, 6), K=4), BC(), seed=0)
    data = load("fake", size=60, shape=(3, 8, 8), classes=3)
    with pytest.raises(ValueError, match=r"made at image size \(3, 6, 6\)"):
        evaluate_many(net, [[1], [2]], data)


# --------------------------------------------------------------------------------- what it costs


def macs_of(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", ["residual", "mobile", "transposed"])
def test_shared_macs_are_those_that_are_computed(name):
    model, x = small.NETWORKS[name](), images(2, 1, 8, 8)
    space = small.space(model)
    net, cost = Supernet(model, space, UA(), seed=0).eval(), CostTable(model, space, x)
    C = neighbours(space, np.random.default_rng(0), 9)
    plain, shared = prefix_macs(cost, C)

    def run():
        with SharedPrefix(net) as prefix:
            prefix.start(x)
            for i in order(C):
                prefix(C[i])

    assert macs_of(run) == len(x) * shared
    assert plain == cost.macs(C).sum() > shared


@pytest.mark.parametrize(("make", "factor"), [(macro_mobilenet, 6.9), (macro_resnet, 3.7)])
def test_the_whole_benchmark_takes_a_fraction_of_the_macs(make, factor):
    model, x = make(), torch.empty(1, 3, 32, 32)
    space = WidthSpace.from_model(model, x, K=4)
    C = np.array(list(itertools.product(range(1, 5), repeat=7)))
    plain, shared = prefix_macs(CostTable(model, space, x), np.random.default_rng(0).permutation(C))
    assert plain / shared == pytest.approx(factor, abs=0.05)


def test_only_activations_alive_at_a_cut_are_kept():
    net, x = tiny.supernet(UA(), K=8), images(16, 1, 8, 8)
    with SharedPrefix(net.eval()) as run:
        run.start(x)
        run([4, 2, 8])
        kept = [tuple(o.kept.shape) for o in run._run.kept]
        # images, and the inputs of the second and third convolution
        assert kept == [(16, 1, 8, 8), (16, 4, 8, 8), (16, 2, 4, 4)]
        run([4, 2, 2])
        assert len(run._run.kept) == 3
        run.start(x)
        assert run._run.kept == []


@pytest.mark.parametrize(("make", "gib"), [(macro_mobilenet, 1.4), (macro_resnet, 2.3)])
def test_memory_of_the_benchmarks_widest_networks(make, gib):
    model, x = make(), images(2, 3, 32, 32)
    space = WidthSpace.from_model(model, x, K=4)
    with SharedPrefix(Supernet(model, space, UA(), seed=0).eval()) as run:
        run.start(x)
        run(space.full)
        memory = {o.key: o.kept.untyped_storage().nbytes() for o in run._run.kept}
    assert round(sum(memory.values()) / len(x) * 2048 / 2**30, 1) == gib


def test_activations_that_are_written_into_before_a_cut_are_not_copied():
    x = images(2, 3, 32, 32)
    model = zoo.make("mobilenet_v2")  # relu_ after every layer
    space = WidthSpace.from_model(model, x, K=8, base=2)
    with SharedPrefix(Supernet(model, space, UA(), seed=0).eval()) as run:
        run.start(x)
        for c in neighbours(space, np.random.default_rng(0), 4):
            run(c)
        assert run._run.writes == [] == list(run._writers)
