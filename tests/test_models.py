"""Networks that the chapters are run on; sizes of all networks are in ``test_networks.py``."""

import torch

from bcnet_lib import WidthSpace
from bcnet_lib.models import digits_cnn


def test_digits_network_has_five_groups_and_runs_at_any_widths():
    model, x = digits_cnn(), torch.zeros(2, 1, 8, 8)
    space = WidthSpace.from_model(model, x, K=4)
    assert [g.width for g in space.groups] == [16, 16, 32, 32, 64]
    assert space.build(model, [1, 4, 2, 3, 1])(x).shape == (2, 10)
    assert digits_cnn(widths=(3, 5, 7, 2, 4), classes=3)(x).shape == (2, 3)
