"""Ways to train a supernet, by the names that experiments and chapters use.

Source: Su et al., arXiv 2203.13714, Eqs. 5, 10, 11 and 22; sandwich rule and in-place distillation:
Yu & Huang, arXiv 1903.05134.
"""

from dataclasses import dataclass

from .principles import BC, UA, BCv2, Cyclic
from .train import passes_per_step

__all__ = ["AT_ONCE", "METHODS", "Method", "passes_a_step", "twins"]


@dataclass(frozen=True, kw_only=True)
class Method:
    """A way to train a supernet."""

    principle: object
    """``UA()``, ``BC()``, ``BCv2()`` or ``Cyclic()``."""
    update: str = "both"
    """Of ``SupernetTrainer``."""
    complement: bool = False
    """Whether the complement is trained too (Eq. 11)."""
    distill: bool = False
    """In-place distillation, with ``update="sandwich"``."""
    at_once: bool = False
    """Add up the losses before one back-propagation: the same step, of more memory."""


METHODS = {
    "UA": Method(principle=UA()),
    "UA + sandwich": Method(principle=UA(), update="sandwich"),
    "UA + sandwich, distilled": Method(principle=UA(), update="sandwich", distill=True),
    "BC": Method(principle=BC()),
    "BC + complement": Method(principle=BC(), complement=True),
    "BC iterative": Method(principle=BC(), update="alternate"),
    "BCv2": Method(principle=BCv2()),
    "BCv2, paper's total": Method(principle=BCv2(overlap="paper")),
    "BCv2 + complement": Method(principle=BCv2(), complement=True),
    "BCv2 + complement, iterative": Method(principle=BCv2(), update="alternate", complement=True),
    "Cyclic": Method(principle=Cyclic()),
}

AT_ONCE = {
    "BC, at once": Method(principle=BC(), at_once=True),
    "BCv2 + complement, at once": Method(principle=BCv2(), complement=True, at_once=True),
}
"""Steps of ``METHODS`` with the activations of all paths alive together: for comparing memory."""


def twins(space, methods=METHODS) -> dict[str, str]:
    """Methods that train the very same windows as an earlier one; name -> that one's name.

    With a smallest width of one unit, Eq. 20 adds l_s - 1 = 0 units: BCv2 as printed is BC.
    """
    seen: dict[tuple, str] = {}
    out = {}
    for name, m in methods.items():
        layers = tuple(
            (m.principle.total(space.K, int(b)),)
            + tuple(m.principle.paths(c, space.K, int(b)) for c in range(int(b), space.K + 1))
            for b in space.base
        )
        key = (layers, m.update, m.complement, m.distill)
        if key in seen:
            out[name] = seen[key]
        seen.setdefault(key, name)
    return out


def passes_a_step(method: Method) -> int:
    """Forward-backward passes an optimiser step takes, as ``SupernetTrainer.passes_per_step``."""
    n_paths = len(method.principle.paths(4, 4))
    return passes_per_step(method.update, method.complement, n_paths)
