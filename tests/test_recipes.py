"""Every network has a recipe, every value of it a source, and the paper's are only what it says."""

from dataclasses import replace

import pytest
from tiny import cnn, supernet

from bcnet_lib.data import load
from bcnet_lib.networks import NETWORKS
from bcnet_lib.recipes import KINDS, OURS, PAPER, RECIPES, RELEASED, USUAL, recipes_for
from bcnet_lib.scratch import train_from_scratch
from bcnet_lib.train import SupernetTrainer


@pytest.fixture(scope="module")
def data():
    return load("digits", size=300)


def test_every_network_has_a_recipe_and_every_recipe_a_use():
    named = {network.recipe for network in NETWORKS.values()}
    assert named <= set(RECIPES)
    assert set(RECIPES) - named == {"cifar10_fast", "mobilenet_v2_rmsprop"}  # with --recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_value_has_a_source_and_what_the_paper_says_stands_beside_it(name):
    recipe = RECIPES[name]
    table = recipe.to_frame()
    assert list(table.columns) == ["supernet", "retrain", "values from", "paper"]
    sources = table["values from"]
    assert all(s.startswith((PAPER, RELEASED, USUAL, OURS)) for s in sources)
    assert table["paper"].to_dict() == {k: KINDS.get(k, "") for k in table.index}
    own = set(sources.index[sources.str.startswith(PAPER)])
    assert own <= {"decay", "decay_epochs", "teacher", "times"}  # numbers and facts at hand
    assert set(recipe.sources) <= set(table.index)
    for field in set(table.index) - {"teacher", "distill_weight", "temperature", "times"}:
        assert table.loc[field, "supernet"] == getattr(recipe.supernet, field)
        assert table.loc[field, "retrain"] == getattr(recipe.retrain, field)


def test_what_the_paper_says_is_what_the_recipes_do():
    for name, recipe in RECIPES.items():
        assert recipe.times == 1.5
        assert recipe.teacher == name.startswith("mobilenet_v2")
        if PAPER in (recipe.sources.get("decay"), recipe.sources.get("decay_epochs")):
            for part in (recipe.supernet, recipe.retrain):
                assert part.schedule == "exponential"
                assert part.lr_at(60, 10) / part.lr_at(90, 10) == pytest.approx(1 / 0.963)
    kinds = {r.supernet.schedule for r in RECIPES.values()}
    assert kinds == {"cosine", "step", "exponential"}
    assert {r.retrain.optimizer for r in RECIPES.values()} == {"sgd", "rmsprop"}
    assert RECIPES["efficientnet_b0"].retrain.ema == 0.9999


def test_steps_of_vgg_come_where_the_released_configuration_has_them():
    recipe = RECIPES["vgg_cifar"].retrain
    starts = [recipe.lr_at(391 * e, 391) for e in range(600)]  # of each epoch
    assert [e for e in range(1, 600) if starts[e] < starts[e - 1]] == [160, 240, 400, 500]
    assert starts[0] == 0.1 and starts[-1] == pytest.approx(1e-5)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_trains_a_supernet_and_a_network(name, data):
    recipe, brief = RECIPES[name], {"batch_size": 60, "amp": False}
    two = {"epochs": 2, "warmup_epochs": min(1, recipe.supernet.warmup_epochs)}
    run = SupernetTrainer(
        supernet(), data, replace(recipe.supernet, **brief, **two), progress=False
    )
    assert run.fit().step == run.total_steps == 6
    taught = {"teacher": cnn()} if recipe.teacher else {}
    options = taught | {"distill_weight": recipe.distill_weight, "temperature": recipe.temperature}
    trained = train_from_scratch(cnn(), data, replace(recipe.retrain, **brief, **two), **options)
    assert 0 <= trained.test_accuracy <= 1 and len(trained.history) == 2


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        ("digits_cnn", "digits", "digits"),
        ("mobilenet_v2_cifar", "digits", "digits"),
        ("mobilenet_v2_cifar", "cifar10", "mobilenet_v2_cifar"),
        ("vgg16_cifar", "cifar10", "vgg_cifar"),
        ("resnet18", "cifar10", "cifar10_fast"),
        ("resnet18", "imagenet", "resnet"),
        ("efficientnet_b0", "imagenet-64", "efficientnet_b0"),
        ("vgg16_cifar", "imagenet", "resnet"),
        ("my.nets:small", "fake", "digits"),
        ("my.nets:small", "cifar10", "cifar10_fast"),
        ("my.nets:small", "my.data:birds", "cifar10_fast"),
        ("mobilenet_v2", "my.data:birds", "mobilenet_v2"),
    ],
)
def test_a_run_takes_the_networks_recipe_on_its_images_and_one_of_the_images_elsewhere(
    model, data, expected
):
    assert recipes_for(model, data) is RECIPES[expected]
    assert recipes_for(model, data, "macro") is RECIPES["macro"]


def test_an_unknown_recipe_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="recipe='fast': known are digits, cifar10_fast"):
        recipes_for("digits_cnn", "digits", "fast")
