"""What ``--dry-run`` says: right numbers for every network of the paper, without its images."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bcnet_lib import Recipe, SupernetTrainer, WidthSpace, networks
from bcnet_lib.__main__ import main
from bcnet_lib.memory import peak_memory
from bcnet_lib.pace import Pace, _line, measure_paces
from bcnet_lib.plan import plan
from bcnet_lib.task import Run, Task

RECIPE = Recipe(epochs=1, batch_size=64)
# MACs and parameters in millions, groups, images; those of the sources that are named
KNOWN = {
    "vgg16_cifar": (313.2, 14.72, 13, "cifar10"),
    "vgg19_cifar": (398.1, 20.03, 16, "cifar10"),
    "mobilenet_v2_cifar": (296.5, 2.24, 25, "cifar10"),
    "resnet18": (1814, 11.69, 12, "imagenet"),
    "resnet34": (3664, 21.80, 20, "imagenet"),
    "resnet50": (4089, 25.56, 37, "imagenet"),
    "mobilenet_v2": (300.8, 3.505, 25, "imagenet"),
    "efficientnet_b0": (385.8, 5.289, 24, "imagenet"),
    "proxylessnas_mobile": (320, 4.08, 28, "imagenet"),
}


def asked_in_batches(task, images):
    """The same run, with so many images a batch in scoring."""
    return Task(replace(task.settings, score_batch=images))


def asked(model, **changes):
    images = KNOWN[model][3] if model in KNOWN else "digits"
    defaults = {"supernet": RECIPE, "retrain": RECIPE, "base": 5}
    return Run(model=model, data=images, **defaults | changes)


@pytest.mark.parametrize("model", KNOWN)
def test_networks_of_the_paper(model, tmp_path):
    macs, params, groups, images = KNOWN[model]
    task = Task(asked(model), tmp_path, plan=True)  # the images are not there
    assert task.data is None
    found = plan(task, rate=1e12)
    assert found.own_macs / 1e6 == pytest.approx(macs, rel=2e-3)
    assert found.own_params / 1e6 == pytest.approx(params, rel=2e-3)
    assert len(found.groups) == groups and found.size == 16**groups
    assert found.budget == found.own_macs / 2
    held = 45_000 if images == "cifar10" else 1_229_920  # less 0.1, and 0.04
    assert found.steps == held // 64 and found.passes == 4 * found.steps
    text = found.text()
    for part in (f"groups      {groups}: ", f"{found.size:.3g} widths", "M MACs"):
        assert part in text


def test_the_numbers_of_a_plan_are_those_of_the_run():
    settings = asked("digits_cnn", K=10, update="alternate", teacher="full", retrain_seeds=2)
    task = Task(settings)
    found = plan(task, rate=1e9)
    net = task.supernet()
    trainer = SupernetTrainer(net, task.data, RECIPE, update="alternate", complement=True,
                              progress=False)  # fmt: skip
    assert (found.steps, found.passes) == (trainer.total_steps, trainer.total_steps)
    assert found.supernet_params == sum(p.numel() for p in net.parameters())
    assert found.trainings == 3 * 2 + 1  # found, uniform, random; the teacher
    x, y = torch.zeros(64, 1, 8, 8), torch.zeros(64, dtype=int)

    def step():
        nn.functional.cross_entropy(net(x, task.space.full), y).backward()

    assert found.saved == pytest.approx(peak_memory(step, net, x, y).saved, rel=0.02)
    assert found.seconds["supernet"] == found.work["supernet"] / 1e9
    twice = plan(task, rate=1e9, processes=2)
    assert twice.seconds["supernet"] == found.seconds["supernet"] / 2
    assert twice.seconds["search"] == found.seconds["search"]  # there is one batch to score on
    many = plan(asked_in_batches(task, 100), rate=1e9, processes=2)  # 270 images: 3 batches
    assert many.seconds["search"] == pytest.approx(found.seconds["search"] * 2 / 3)
    assert many.calls["search"] == 2 * found.calls["search"]
    assert found.saved / 2 < twice.saved < 0.6 * found.saved  # copies of slices stay


def test_every_pass_has_its_own_time():
    assert Pace(rate=1e6, call=0.1, step=0.02).seconds(3e6, calls=10, steps=5) == pytest.approx(4.1)
    line = _line(lambda n: 0.01 + 0.002 * n, (4, 16), macs=1e6)
    assert (line.call, line.rate) == pytest.approx((0.01, 5e8))
    noise = _line(lambda n: 0.01, (4, 16), macs=1e6)  # as if images took no time
    assert noise.rate > 0 and noise.call < 0.01


@pytest.mark.parametrize("principle", ["ua", "bcv2", "cyclic"])
def test_paces_are_measured_at_new_widths(principle):
    task = Task(asked("digits_cnn", K=10, principle=principle))
    net = task.supernet()
    seen = []
    net.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[1])))
    found = measure_paces(task, net, {"supernet": 8, "search": 8, "retrain": 8})
    assert set(found) == {"supernet", "search", "retrain"}
    assert all(p.rate > 0 and p.call >= 0 for p in found.values())
    assert found["search"].step == 0 < found["supernet"].step
    trained = seen[: 12 * (2 if principle == "bcv2" else 1)]
    assert len(set(trained)) > 10  # two widths drawn may be equal


def test_memory_in_half_precision_is_less():
    whole, half = (
        plan(Task(asked("digits_cnn", K=10, supernet=replace(RECIPE, amp=amp))), rate=1e9)
        for amp in (False, True)
    )
    assert half.saved < 0.8 * whole.saved


def test_the_command_measures_a_rate_and_trains_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SupernetTrainer, "fit", None)
    assert main(["run", "--model", "digits_cnn", "--K", "10", "--macs", "0.3", "--dry-run"]) == 0
    said = capsys.readouterr().out
    space = WidthSpace.from_model(networks.make("digits_cnn"), torch.zeros(1, 1, 8, 8), K=10)
    assert f"{space.size:.3g} widths" in said and "measured here" in said
    assert not list(tmp_path.iterdir())
