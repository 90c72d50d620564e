"""Channel ids and how they merge: the record that ``trace.py`` fills and ``graph.py`` reads."""

from dataclasses import dataclass, field

__all__ = ["FIXED", "NEUTRAL", "OUTPUT", "Op", "Trace", "Use"]

FIXED = 0  # the id of every channel that must stay: image, classes, and what has no rule
NEUTRAL = -1  # carries no channel: maps of one channel broadcast over all, constants
OUTPUT = "is an output of the model"


@dataclass(frozen=True, kw_only=True)
class Op:
    """One convolution or linear layer as it was called: what its multiply-accumulates depend on.

    Per image, MACs = coefficient x size(out) x size(inner), where ``inner`` is the input axis of
    the weight (constant for depthwise and blockwise convolutions).
    """

    layer: str
    coefficient: int  # kernel positions x output positions
    weight: str | None = None  # None: a computed weight, whose sizes are in the coefficient


@dataclass
class Use:
    """Ids that meet at one weight; raw (not yet merged), for finding gates."""

    layer: str
    inputs: list[int]
    outputs: list[int]


@dataclass
class Trace:
    """What a traced forward pass leaves: ids of every parameter axis, and how they merged."""

    parent: list[int] = field(default_factory=lambda: [FIXED])
    axes: dict[str, dict[int, list[int]]] = field(default_factory=dict)  # tensor name -> dim -> ids
    makers: dict[str, tuple[str, list[int]]] = field(default_factory=dict)  # weight -> (layer, ids)
    ops: list[Op] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    gates: set[int] = field(default_factory=set)  # ids of channels that gate others (SE)
    frozen: dict[int, str] = field(default_factory=lambda: {FIXED: "meets channels that stay"})
    blocks: dict[str, tuple[int, list[int]]] = field(default_factory=dict)  # layer -> (block, ids)

    def fresh(self, n: int) -> list[int]:
        start = len(self.parent)
        self.parent.extend(range(start, start + n))
        return list(range(start, start + n))

    def find(self, i: int) -> int:
        parent = self.parent
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    def union(self, a: list[int], b: list[int]) -> None:
        for i, j in zip(a, b, strict=True):
            if i == NEUTRAL or j == NEUTRAL:
                continue
            low, high = sorted((self.find(i), self.find(j)))
            if low != high:
                self.parent[high] = low
                if high in self.frozen:
                    self.frozen.setdefault(low, self.frozen.pop(high))

    def freeze(self, ids, reason: str) -> None:
        for i in ids:
            if i != NEUTRAL:
                self.frozen.setdefault(self.find(i), reason)

    def held(self, i: int) -> str | None:
        """Why the channel cannot be dropped; None if it can."""
        return None if i == NEUTRAL else self.frozen.get(self.find(i))
