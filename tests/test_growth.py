"""Growth of a pass's time: the fitted exponent, what is timed, and the figures."""

import numpy as np
import pandas as pd
import pytest
import torch

from bcnet_lib import plots_cluster
from bcnet_lib.growth import exponent, growth, stack
from bcnet_lib.space import WidthSpace


def powers(a):
    x = np.array([1, 2, 4, 8])
    return pd.DataFrame(x[:, None] ** a * np.array([1.0, 3.0, 5.0]), index=pd.Index(x, name="L"))


@pytest.mark.parametrize("a", [0.0, 1.0, 1.7])
def test_exponent_of_a_power(a):
    fit = exponent(powers(a))
    assert fit.mean == pytest.approx(a, abs=1e-9) and fit.half < 1e-9 and fit.n == 3


def test_a_pass_is_timed_for_every_value_and_seed():
    space = WidthSpace.from_model(stack(3), torch.zeros(1, 1, 8, 8), K=4)
    assert space.L == 3
    table = growth("L", (2, 3), K=4, images=4, seeds=2, repeats=1)
    assert table.shape == (2, 2) and table.index.name == "L" and (table > 0).all().all()


def test_figures_say_what_they_show():
    alt = plots_cluster.growth({"layers": powers(1.0), "images": powers(0.0)}).alt
    assert "layers from 1 to 8" in alt and "exponent 1.00" in alt and "3 seeds" in alt
    alt = plots_cluster.estimates({"supernet": 2.0}, {"supernet": 3.0, "prior": 0.1}).alt
    assert alt.endswith("supernet: 2.0 and 3.0")
