"""A path of the supernet is the narrow network, to the last bit; nothing else is touched."""

import warnings

import numpy as np
import pytest
import tiny
import torch
import zoo
from randomnet import RandomNet
from torch import nn
from zoo import Net, conv, head, logits

from bcnet_lib import BC, UA, BCv2, Cyclic, GraphError, Supernet, WidthError, WidthSpace

NAMES = [
    *("mobilenet_v2", "mnasnet1_0", "resnet18", "resnet50", "resnext50_32x4d", "densenet121"),
    *("efficientnet_b0", "mobilenet_v3_large", "mobilenet_v3_small", "regnet_y_400mf"),
    *("convnext_tiny", "squeezenet1_0", "googlenet", "shufflenet_v2_x1_0"),
]
LEFT, RIGHT = 0, 1


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def images(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def alone(net, c, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # running statistics are not used here
        return net.export(c, path)


def window(net, name, windows):
    """Index of the entries of a parameter that a path uses, counted entry by entry."""
    index = []
    for axis in net.space.graph.axes[name]:
        entries, offset = [], 0
        for run in axis:
            if run.group is None:
                entries += range(offset, offset + run.length)
                offset += run.length
                continue
            total = int(net.total[run.group])
            for channel in range(*windows[run.group]):
                first = offset + channel % total * run.repeat
                entries += range(first, first + run.repeat)
            offset += total * run.repeat
        index.append(torch.tensor(entries))
    return torch.meshgrid(*index, indexing="ij")


def assert_bitwise(net, x, c, path):
    """Outputs and gradients of a path equal the exported network's; all other gradients are 0."""
    net.zero_grad()
    y = logits(net(x, c, path))
    y.square().sum().backward()
    narrow = alone(net, c, path)
    assert type(narrow) is type(net.net)
    z = logits(narrow(x))
    assert torch.equal(y, z)
    z.square().sum().backward()
    expected = dict(narrow.named_parameters())
    windows = net.windows(c, path)
    for name, p in net.net.named_parameters():
        want = torch.zeros_like(p)
        if expected[name].grad is not None:
            if name in net.space.graph.axes:
                want[window(net, name, windows)] = expected[name].grad
            else:
                want.copy_(expected[name].grad)
        got = torch.zeros_like(p) if p.grad is None else p.grad
        assert torch.equal(got, want), name


# ---------------------------------------------------------------------------- the core claim


@pytest.mark.parametrize("name", NAMES)
def test_paths_equal_exported_networks_bitwise(name):
    size = 96 if name == "googlenet" else 64
    model, x = zoo.make(name), images(2, 3, size, size)
    space = WidthSpace.from_model(model, x, K=8, base=2)
    rng = np.random.default_rng(0)
    for principle in (BC(), BCv2()):
        net = Supernet(model, space, principle, seed=0)
        c = space.sample(rng, 1)[0]
        for path in (LEFT, RIGHT):
            assert_bitwise(net, x, c, path)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "densenet121"])
def test_channels_last_holds_for_slices_and_exported_networks(name):
    model, x = zoo.make(name), images(2, 3, 64, 64)
    space = WidthSpace.from_model(model, x, K=8, base=2)
    net = Supernet(model, space, BCv2(), seed=0).to(memory_format=torch.channels_last)
    c = space.sample(np.random.default_rng(0), 1)[0]
    for path in (LEFT, RIGHT):
        assert_bitwise(net, x, c, path)
        narrow = [p for p in alone(net, c, path).parameters() if p.dim() == 4]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in narrow)
    assert any(not p.is_contiguous() for p in narrow)


@pytest.mark.parametrize("name", ["mobilenet_v2", "regnet_y_400mf", "densenet121"])
def test_windows_that_wrap_equal_exported_networks_bitwise(name):
    model, x = zoo.make(name), images(2, 3, 64, 64)
    space = WidthSpace.from_model(model, x, K=8, base=2)
    net = Supernet(model, space, Cyclic(), seed=0)
    c = space.sample(np.random.default_rng(0), 1)[0]
    assert any(stop > total for (_, stop), total in zip(net.windows(c, 6), net.total, strict=True))
    assert_bitwise(net, x, c, 6)


@pytest.mark.parametrize("seed", range(24))
def test_paths_of_random_networks_equal_exported_networks_bitwise(seed):
    model, x = RandomNet(seed), images(3, 3, 8, 8)
    space = WidthSpace.from_model(model, x, K=5, base=2)
    rng = np.random.default_rng(seed)
    for principle in (UA(), BC(), BCv2(), BCv2(overlap="paper"), Cyclic()):
        net = Supernet(model, space, principle, seed=0)
        assert_bitwise(net, x, space.sample(rng, 1)[0], int(rng.integers(net.n_paths)))


@pytest.mark.parametrize("linear", [False, True])
def test_a_slice_at_an_odd_address_rounds_as_a_weight_of_its_own(linear):
    layers = [nn.Flatten(), nn.Linear(23, 40)] if linear else [conv(23, 40, 1), nn.Flatten()]
    model = nn.Sequential(conv(3, 23), nn.AdaptiveAvgPool2d(1), *layers, nn.Linear(40, 3))
    x = images(3, 3, 8, 8)
    net = Supernet(model, WidthSpace.from_model(model, x, K=40, fixed=["0"]), BC(), seed=0)
    for c in range(1, 41):  # the right path starts at row 40 - c, of 23 numbers
        assert_bitwise(net, x, [c], RIGHT)


def test_the_full_path_of_ua_is_the_whole_network():
    net, x = tiny.supernet(UA()), images(4, 1, 8, 8)
    assert torch.equal(net(x, net.space.full), net.net(x))


# ---------------------------------------------------------------------------- windows


def test_number_of_paths():
    assert [tiny.supernet(p).n_paths for p in (UA(), BC(), BCv2(), Cyclic())] == [1, 2, 2, 8]


def test_left_of_a_width_and_right_of_its_complement_tile_a_bcv2_layer():
    net = tiny.supernet(BCv2(), K=8, base=3)
    for c in net.space.sample(np.random.default_rng(0), 20):
        rest = net.space.complement(c, net.principle)
        for a, b in ((LEFT, RIGHT), (RIGHT, LEFT)):
            pairs = zip(net.windows(c, a), net.windows(rest, b), net.total.tolist(), strict=True)
            for one, other, total in pairs:
                assert sorted([*range(*one), *range(*other)]) == list(range(total))


def test_right_paths_end_at_the_last_channel_where_units_do_not_divide():
    net = tiny.supernet(BCv2(), K=7, base=2)
    for c in net.space.sample(np.random.default_rng(0), 20):
        for (start, stop), n, total in zip(
            net.windows(c, RIGHT), net.space.channels(c), net.total, strict=True
        ):
            assert (stop - start, stop) == (n, total)


def test_windows_keep_blocks_whole():
    model = nn.Sequential(conv(3, 24), conv(24, 24, groups=6), head(24))
    space = WidthSpace.from_model(model, images(1, 3, 8, 8), K=5)
    for principle in (BC(), BCv2(), Cyclic()):
        net = Supernet(model, space, principle)
        for path in range(net.n_paths):
            for c in range(1, 6):
                (start, stop), *_ = net.windows([c], path)
                assert start % 4 == 0 == stop % 4


# ---------------------------------------------------------------------------- the network around it


def test_supernets_widen_themselves_and_leave_the_model_alone():
    model = tiny.cnn()
    before = [p.clone() for p in model.parameters()]
    net = Supernet(model, tiny.space(model, K=8, base=2), BCv2(), seed=0)
    assert net.total.tolist() == [10, 10, 20]
    net(images(4, 1, 8, 8), [2, 3, 4]).sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_a_seed_decides_the_weights():
    one, same, other = (tiny.supernet(seed=s).state_dict() for s in (3, 3, 4))
    assert all(torch.equal(v, same[k]) for k, v in one.items())
    assert not all(torch.equal(v, other[k]) for k, v in one.items())


def test_batch_statistics_serve_training_and_evaluation():
    net, x = tiny.supernet(), images(16, 1, 8, 8)
    assert not any("running" in k for k in net.state_dict())
    c = [2, 8, 5]
    assert torch.equal(net.train()(x, c), net.eval()(x, c))


def test_state_dict_round_trip():
    net, other, x = tiny.supernet(seed=0), tiny.supernet(seed=1), images(4, 1, 8, 8)
    other.load_state_dict(net.state_dict())
    for path in (LEFT, RIGHT):
        assert torch.equal(net(x, [3, 4, 5], path), other(x, [3, 4, 5], path))


def test_supernets_move_to_other_precisions():
    net, x = tiny.supernet(), images(4, 1, 8, 8)
    single = net(x, [3, 4, 5], RIGHT)
    double = net.double()(x.double(), [3, 4, 5], RIGHT)
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, atol=1e-5)


def test_cost_is_that_of_the_model_not_of_the_widened_layers():
    net = tiny.supernet(BCv2())
    c = [2, 5, 8]
    assert net.cost.params(c) == sum(p.numel() for p in alone(net, c, RIGHT).parameters())
    full = sum(p.numel() for p in tiny.cnn().parameters())
    assert net.cost.params(net.space.full) == full


class Trip(nn.Module):
    """Fails on demand."""

    fails = False

    def forward(self, x):
        if self.fails:
            raise RuntimeError("tripped")
        return x


def test_modules_are_as_before_after_a_call_and_after_an_error():
    model = Net(
        lambda net, x: net.h(net.t(net.n(net.b(net.a(x)).movedim(1, -1)).movedim(-1, 1))),
        **{"a": conv(3, 8), "b": conv(8, 8, groups=4), "n": nn.LayerNorm(8), "t": Trip()},
    )
    model.h = head(8)
    x = images(2, 3, 8, 8)
    net = Supernet(model, WidthSpace.from_model(model, x, K=4), BC(), seed=0)
    before = {k: (p, p.shape) for k, p in net.named_parameters()}
    for fails in (False, True):
        net.net.t.fails = fails
        if fails:
            with pytest.raises(RuntimeError, match="tripped"):
                net(x, [2])
        else:
            net(x, [2])
        after = dict(net.named_parameters())
        assert all(after[k] is p and p.shape == shape for k, (p, shape) in before.items())
        assert (net.net.b.groups, net.net.n.normalized_shape) == (4, (8,))


# ---------------------------------------------------------------------------- export


def test_export_sets_running_statistics_from_batches():
    net = tiny.supernet()
    batches = [images(32, 1, 8, 8) + k for k in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = net.export([3, 4, 5], RIGHT, batches=[(x, None) for x in batches])
    with torch.no_grad():
        maps = [plain[0](x) for x in batches]  # into the first BatchNorm
    mean = torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0)
    var = torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0)
    assert torch.allclose(plain[1].running_mean, mean, atol=1e-6)
    assert torch.allclose(plain[1].running_var, var, rtol=1e-5)
    assert plain[1].momentum == 0.1 and plain[1].num_batches_tracked == 3


def test_an_exported_network_predicts_as_its_path_does():
    net, x = tiny.supernet(), images(4096, 1, 8, 8)
    plain = net.export([3, 4, 5], RIGHT, batches=[x]).eval()
    with torch.no_grad():
        assert torch.allclose(plain(x), net(x, [3, 4, 5], RIGHT), atol=1e-3)


def test_export_says_when_statistics_are_not_set():
    net = tiny.supernet()
    with pytest.warns(UserWarning, match=r"3 BatchNorm layers .* export\(c, batches=...\)"):
        net.export([3, 4, 5])
    with pytest.raises(ValueError, match="at least one batch"):
        net.export([3, 4, 5], batches=[])


def test_export_without_batch_norm_needs_no_batches():
    model = nn.Sequential(conv(3, 8), head(8))
    net = Supernet(model, WidthSpace.from_model(model, images(1, 3, 8, 8), K=4), BC())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert net.export([2]).training


def test_exported_weights_are_the_networks_own():
    net, x = tiny.supernet(), images(4, 1, 8, 8)
    plain, before = alone(net, net.space.full, LEFT), net(x, net.space.full)
    with torch.no_grad():
        for p in plain.parameters():
            p.zero_()
    assert torch.equal(net(x, net.space.full), before)


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("principle", ["BC", BC, None, 3])
def test_unknown_principles_are_refused(principle):
    with pytest.raises(ValueError, match=r"principle must be UA\(\), BC\(\), BCv2\(\) or Cyclic"):
        Supernet(tiny.cnn(), tiny.space(), principle)


def test_models_that_cannot_grow_are_refused_by_principles_that_widen():
    class UpTo(nn.Module):
        def forward(self, x):
            if x.shape[1] > 8:
                raise RuntimeError("at most 8 channels")
            return x

    model = nn.Sequential(conv(3, 8), UpTo(), head(8))
    space = WidthSpace.from_model(model, images(1, 3, 8, 8), K=4)
    assert Supernet(model, space, BC())(images(2, 3, 8, 8), [2]).shape == (2, 3)
    with pytest.raises(GraphError, match=r"cannot grow: at most 8 channels. Use BC\(\)"):
        Supernet(model, space, BCv2())


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((2, 3, 8, 8), r"images must be \(B, 1, 8, 8\), got \(2, 3, 8, 8\)"),
        ((1, 8, 8), r"images must be \(B, 1, 8, 8\), got \(1, 8, 8\)"),
    ],
)
def test_wrong_images_are_named(shape, text):
    with pytest.raises(ValueError, match=text):
        tiny.supernet()(images(*shape), [4, 4, 4])


def test_another_image_size_is_fine_unless_the_model_minds():
    assert tiny.supernet()(images(2, 1, 12, 12), [4, 4, 4]).shape == (2, 10)
    model = nn.Sequential(conv(1, 8), nn.Flatten(), nn.Linear(512, 3))
    net = Supernet(model, WidthSpace.from_model(model, images(1, 1, 8, 8)), BC())
    with pytest.raises(ValueError, match=r"made at image size \(1, 8, 8\), and .* \(1, 12, 12\)"):
        net(images(2, 1, 12, 12), [4])


@pytest.mark.parametrize(
    ("c", "path", "text"),
    [
        ([4, 4, 4], 2, r"path 2: BCv2 has paths 0..1 \(0 is the left one\)"),
        ([4, 4, 4], -1, "path -1"),
        ([4, 4, 4], "left", "path 'left'"),
        ([1, 4, 4], 0, "width 1 for group '0' is outside 2..8"),
        ([[4, 4, 4]], 0, r"needs one width vector \(L,\), got shape \(1, 3\)"),
    ],
)
def test_wrong_paths_are_named(c, path, text):
    with pytest.raises(WidthError, match=text):
        tiny.supernet(BCv2())(images(2, 1, 8, 8), c, path)
