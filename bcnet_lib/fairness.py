"""The fairness meter: how often a supernet uses its channels, and its kernels.

Counts come from the windows that paths really take (``net.windows``), in channels: a meter of what
is trained, whatever the formulas say. A *kernel* is a pair of an output and an input channel.
Principles are fair to channels; whether they are fair to kernels is another question.

Source: Su et al., arXiv 2203.13714, sections 4.1 and 4.2 (Eqs. 10 and 11). Pure NumPy.
"""

from collections.abc import Iterable, Mapping

import numpy as np

__all__ = [
    "channel_uses",
    "expected_channel_uses",
    "expected_kernel_uses",
    "kernel_uses",
    "step_passes",
    "unevenness",
]


def step_passes(net, c, complement: bool = False) -> list[tuple[np.ndarray, int]]:
    """The passes of one training step with width c: all its paths, then those of its complement.

    Args:
        net: a ``Supernet``. c: width vector (L,), in units.
        complement: Eq. 11, with ``space.complement(c, principle)``; else Eq. 10.
    Returns:
        (widths (L,), path) of every pass. Cyclic's step draws one of its K paths; here are all.
    """
    widths = [net.space.check(c)]
    if complement:
        widths.append(net.space.complement(c, net.principle))
    return [(w, path) for w in widths for path in range(net.n_paths)]


def channel_uses(net, passes: Iterable) -> dict[str, np.ndarray]:
    """How many passes use each channel of the supernet.

    Args:
        net: a ``Supernet``. passes: (widths (L,), path) pairs, such as ``step_passes`` gives or as
            stand in a trainer's records.
    Returns:
        group name -> int64 (total,), for every group of the graph (squeeze layers too).
    """
    names = [g.name for g in net.space.graph.groups]
    counts = [np.zeros(int(t), dtype=np.int64) for t in net.total]
    for c, path in passes:
        for count, window in zip(counts, net.windows(c, path), strict=True):
            count[_channels(window, count.size)] += 1
    return dict(zip(names, counts, strict=True))


def kernel_uses(net, passes: Iterable, out: str, into: str) -> np.ndarray:
    """How many passes use each kernel between two groups.

    Args:
        net, passes: as in ``channel_uses``. out, into: names of the groups of the output and of the
            input channels.
    Returns:
        int64 (total of out, total of into).
    Raises:
        KeyError: there is no such group; names those there are.
    """
    i, j = _place(net, out), _place(net, into)
    counts = np.zeros((int(net.total[i]), int(net.total[j])), dtype=np.int64)
    for c, path in passes:
        windows = net.windows(c, path)
        rows = _channels(windows[i], counts.shape[0])
        columns = _channels(windows[j], counts.shape[1])
        counts[np.ix_(rows, columns)] += 1
    return counts


def unevenness(net, passes: Iterable, block: int = 4) -> tuple[float, float]:
    r"""How unequally passes used the channels of a layer: the coefficient of variation

    .. math:: \mathrm{std}_u(n_u) \big/ \mathrm{mean}_u(n_u)

    of the number of passes :math:`n_u` that used channel u, over a group's channels; 0 is fair.

    Args:
        net: a ``Supernet``. passes: (widths (L,), path) pairs, in the order of the training.
        block: passes in a row, at most all; four are a step of Eq. 11.
    Returns:
        the mean over groups: of all passes together, and of the blocks they can be cut into.
    """
    windows = [net.windows(c, path) for c, path in passes]
    block = min(block, len(windows))
    whole, short = [], []
    for g, total in enumerate(net.total.tolist()):
        used = np.zeros((len(windows), total))  # (passes, channels), 1 where a pass uses a channel
        for row, window in zip(used, windows, strict=True):
            row[_channels(window[g], total)] = 1
        blocks = used[: len(used) // block * block].reshape(-1, block, total).sum(axis=1)
        whole.append(used.sum(axis=0).std() / used.sum(axis=0).mean())
        short.append((blocks.std(axis=1) / blocks.mean(axis=1)).mean())
    return float(np.mean(whole)), float(np.mean(short))


def expected_channel_uses(net, complement: bool = False) -> dict[str, np.ndarray]:
    r"""Share of passes that use each channel, when widths are drawn uniformly (``space.sample``).

    .. math:: \frac1{|P|} \sum_{p \in P} \Pr_c(u \in \mathrm{path}_p(c))

    over the passes P of a step, by enumeration of every group's widths.

    Returns:
        group name -> float64 (total,). Equal entries: channels are trained equally often.
    """
    return {name: used.mean(axis=(0, 1)) for name, used in _used(net, complement).items()}


def expected_kernel_uses(net, out: str, into: str, complement: bool = False) -> np.ndarray:
    r"""Share of passes that use each kernel, when widths are drawn uniformly.

    Widths of different groups are drawn independently, so within one path the chances multiply:

    .. math:: \frac1{|P|} \sum_{p \in P} \Pr_c(u \in \mathrm{path}_p(c)) \Pr_{c'}(v \in
              \mathrm{path}_p(c'))

    Returns:
        float64 (total of out, total of into).
    Raises:
        KeyError: as ``kernel_uses``.
    """
    i, j = _place(net, out), _place(net, into)
    used = _used(net, complement)
    a, b = used[out], used[into]  # (passes, widths, total), both
    if _leader(net, i) == _leader(net, j):  # one width decides both
        return np.einsum("pwu,pwv->uv", a, b, dtype=np.float64) / (a.shape[0] * a.shape[1])
    return np.einsum("pu,pv->uv", a.mean(axis=1), b.mean(axis=1)) / len(a)


def _used(net, complement: bool) -> Mapping[str, np.ndarray]:
    """Group name -> bool (passes of a step, widths, total): which pass of which width uses what."""
    space, groups = net.space, net.space.graph.groups
    of = [len(space.candidates[_leader(net, i)]) for i in range(len(groups))]  # widths a group
    passes = net.n_paths * (2 if complement else 1)
    used = [np.zeros((passes, n, int(t)), bool) for n, t in zip(of, net.total, strict=True)]
    for w in range(max(of)):
        # all groups go through their own widths at once; a shorter list stays at its end
        c = np.array([candidates[min(w, len(candidates) - 1)] for candidates in space.candidates])
        for p, (widths, path) in enumerate(step_passes(net, c, complement)):
            for mask, window in zip(used, net.windows(widths, path), strict=True):
                if w < mask.shape[1]:
                    mask[p, w, _channels(window, mask.shape[2])] = True
    return {g.name: mask for g, mask in zip(groups, used, strict=True)}


def _channels(window: tuple[int, int], total: int) -> np.ndarray:
    """Channel indices of a window; Cyclic's may wrap around the end."""
    return np.arange(*window) % total


def _place(net, name: str) -> int:
    names = [g.name for g in net.space.graph.groups]
    if name not in names:
        raise KeyError(f"no group '{name}' in this supernet; it has {names}")
    return names.index(name)


def _leader(net, i: int) -> int:
    """Position among the searched groups of the one whose width decides group i of the graph."""
    group = net.space.graph.groups[i]
    names = [g.name for g in net.space.groups]
    return names.index(group.follows or group.name)
