"""What Tables 4 and 5 could have been computed from: other accuracies, networks and costs.

Each printed number is a correlation between a cost and an accuracy over some networks. All three
can be chosen in more than one way; here are the ways, and what each of them gives.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .bench import ChannelBench
from .correlation import Correlations, correlations
from .data import mix

__all__ = ["accuracies", "costs", "every_choice", "networks", "random_subsets"]

COEFFICIENTS = list(Correlations._fields)


def accuracies(bench: ChannelBench) -> dict[str, np.ndarray]:
    """Ways to make one accuracy of the runs of a network: name -> (n,)."""
    a = bench.accuracies
    runs = range(a.shape[1])
    out = {"mean of the runs": bench.mean}
    out |= {f"run {r + 1} alone": a[:, r] for r in runs}
    out |= {f"runs {i + 1} and {j + 1}": a[:, [i, j]].mean(1) for i in runs for j in runs if i < j}
    out |= {"median": np.median(a, 1), "best run": a.max(1), "worst run": a.min(1)}
    return out | {"mean, rounded to 0.1": bench.mean.round(1)}


def networks(bench: ChannelBench) -> dict[str, np.ndarray]:
    """Ways to choose networks: name -> (n,) bool."""
    return {
        "all": np.ones(len(bench), dtype=bool),
        "no narrowest layer": (bench.C > 1).all(axis=1),
        "no widest layer": (bench.C < bench.K).all(axis=1),
    }


def costs(bench: ChannelBench, what: str) -> dict[str, np.ndarray]:
    """Ways to count ``macs`` or ``params``: name -> (n,).

    Raises:
        ValueError: if what is neither.
    """
    if what not in ("macs", "params"):
        raise ValueError(f"what={what!r} must be 'macs' or 'params'")
    weights, places = _layers(bench)
    released = getattr(bench, what)
    net = bench.network()
    deep = [n for n in weights if getattr(net.get_submodule(n), "groups", 1) > 1]
    leave = {"without the classifier": ["classifier"], "without the stem": ["stem.0"]}
    leave["without depthwise layers"] = deep
    leave["without the last 1x1"] = [n for n in weights if n == "last.0"]
    out = {"as released": released, "its logarithm": np.log(released)}
    for name, layers in leave.items():
        if layers:
            each = (weights[n] * (places[n] if what == "macs" else 1) for n in layers)
            out[name] = released - sum(each)
    if what == "params":
        return out | {"without normalisation": sum(weights.values()), "MACs instead": bench.macs}
    most = max(places.values())
    even = sum(w * (most if places[n] > 1 else 1) for n, w in weights.items())
    return out | {"all layers at 16x16": even, "parameters instead": bench.params}


def _layers(bench: ChannelBench) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Weights of every layer (n,), and at how many places of the image they are applied."""
    net, weights, places = bench.network(), {}, {}
    for name, macs in bench.cost.layers(bench.C).items():
        # the last row is the widest network, which net is
        places[name] = int(macs[-1]) // net.get_submodule(name).weight.numel()
        weights[name] = macs // places[name]
    return weights, places


def every_choice(bench: ChannelBench) -> pd.DataFrame:
    """The three correlations, in percent, for every choice of accuracy, networks and cost.

    Returns:
        one row a choice: ``what`` (params or macs), ``accuracy``, ``networks``, ``cost``, ``n``,
        ``pearson``, ``spearman``, ``kendall``; the first row of each ``what`` is the plain choice.
    """
    rows = []
    for what in ("params", "macs"):
        for cost, x in costs(bench, what).items():
            for which, kept in networks(bench).items():
                for accuracy, y in accuracies(bench).items():
                    found = 100 * np.array(correlations(x[kept], y[kept]))
                    rows.append((what, accuracy, which, cost, int(kept.sum()), *found))
    head = ["what", "accuracy", "networks", "cost", "n", *COEFFICIENTS]
    return pd.DataFrame(rows, columns=head)


def random_subsets(a, b, sizes: Sequence[int], draws: int = 200, seed: int = 0) -> pd.DataFrame:
    """How far a random subset of networks moves the correlations.

    Args:
        a, b: (n,) cost and accuracy. sizes: networks of a subset, 3..n each.
        draws: subsets of each size, without replacement. seed: of the draws.
    Returns:
        one row a size and coefficient: ``size``, ``coefficient``, and ``low`` and ``high``, in
        percent, between which 95 % of the subsets fall.
    Raises:
        ValueError: if a size is outside 3..n.
    """
    a, b = np.asarray(a), np.asarray(b)
    rng, rows = np.random.default_rng(mix(seed)), []
    for size in sizes:
        if not 3 <= size <= len(a):
            raise ValueError(f"a subset of {size} networks: it must be a number in 3..{len(a)}")
        drawn = (rng.choice(len(a), size, replace=False) for _ in range(draws))
        found = 100 * np.array([correlations(a[i], b[i]) for i in drawn])  # (draws, 3)
        ends = np.percentile(found, [2.5, 97.5], axis=0).T  # (3, 2)
        rows += [(size, c, *e) for c, e in zip(COEFFICIENTS, ends.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=["size", "coefficient", "low", "high"])
