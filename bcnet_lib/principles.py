"""Sharing principles: which units of a shared layer a width uses.

Pure index arithmetic, no torch. A layer has widths ``base .. l`` (in units) and a supernet layer
of ``total`` units that they share. A *path* is the window of units that one width uses; a
principle says how many paths a width has and where they lie.

Source: Su et al., arXiv 2203.13714, sections 4.1 (UA, BC) and 5.1 (BCNetV2).
Units are 0-based and windows half-open, where the paper counts from 1 and closes them.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["BC", "UA", "BCv2", "Cyclic", "WidthError"]


class WidthError(ValueError):
    """A width, base or layer size that the search space does not hold."""


def _check_layer(l: int, base: int) -> None:
    for name, value in (("l", l), ("base", base)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
            raise WidthError(f"{name} must be an integer number of units, got {value!r}")
    if l < 1:
        raise WidthError(f"a layer needs at least one unit, got l={l}")
    if not 1 <= base <= l:
        raise WidthError(f"base={base} is outside 1..{l} (the layer has l={l} units)")


def _check_width(c: int, l: int, base: int) -> None:
    _check_layer(l, base)
    if not isinstance(c, (int, np.integer)) or isinstance(c, bool):
        raise WidthError(f"width must be an integer number of units, got {c!r}")
    if not base <= c <= l:
        raise WidthError(f"width {c} is outside {base}..{l}")


class _Windows:
    """What all principles share: counting units by enumeration, and the complement in one layer."""

    def cardinality(self, l: int, base: int = 1) -> np.ndarray:
        """How often each unit is used when every width ``base..l`` takes every path once.

        Counted by walking through the windows, so that it can check ``cardinality_formula``.

        Args:
            l: largest width, in units.
            base: smallest width l_s, ``1 <= base <= l``.
        Returns:
            int64 array, shape ``(self.total(l, base),)``.
        Raises:
            WidthError: if ``l < 1`` or base is not in ``1..l``.
        """
        total = self.total(l, base)
        count = np.zeros(total, dtype=np.int64)
        for c in range(base, l + 1):
            for start, stop in self.paths(c, l, base):
                count[np.arange(start, stop) % total] += 1  # the modulo is for Cyclic's wrap
        return count

    def complement(self, c: int, l: int, base: int = 1) -> int | None:
        """The width that fills what ``c`` leaves free: ``total - c``, or None if that is no width.

        Source: section 4.2 (complementary training, c̄ = l - c) and section 5.1 (BCNetV2).

        Args:
            c: width in units. l: largest width. base: smallest width.
        Returns:
            a width in ``base..l``, or None.
        Raises:
            WidthError: if c is not in ``base..l``.
        """
        _check_width(c, l, base)
        rest = self.total(l, base) - c
        return int(rest) if base <= rest <= l else None


@dataclass(frozen=True)
class UA(_Windows):
    """Unilaterally augmented: width c uses the c leftmost units (Eq. 5)."""

    name = "UA"

    def total(self, l: int, base: int = 1) -> int:
        """Units in the supernet layer: l."""
        _check_layer(l, base)
        return int(l)

    def paths(self, c: int, l: int, base: int = 1) -> tuple[tuple[int, int], ...]:
        """The one window of width c, ``((0, c),)`` (Eq. 5)."""
        _check_width(c, l, base)
        return ((0, int(c)),)

    def cardinality_formula(self, l: int, base: int = 1) -> np.ndarray:
        r"""Uses of each unit in closed form.

        .. math:: \mathrm{Card}(u) = l + 1 - \max(u, l_s), \quad 1 \le u \le l   [Eqs. 6, 18]

        Returns:
            int64 array, shape ``(l,)``.
        """
        _check_layer(l, base)
        u = np.arange(1, l + 1)  # (l,)
        return l + 1 - np.maximum(u, base)


@dataclass(frozen=True)
class BC(_Windows):
    """Bilaterally coupled: width c uses the c leftmost and the c rightmost units (Eqs. 7, 8)."""

    name = "BC"

    def total(self, l: int, base: int = 1) -> int:
        """Units in the supernet layer: l."""
        _check_layer(l, base)
        return int(l)

    def paths(self, c: int, l: int, base: int = 1) -> tuple[tuple[int, int], ...]:
        """Left and right window of width c, ``((0, c), (total - c, total))`` (Eqs. 7, 8)."""
        _check_width(c, l, base)
        total = self.total(l, base)
        return ((0, int(c)), (int(total - c), int(total)))

    def cardinality_formula(self, l: int, base: int = 1) -> np.ndarray:
        r"""Uses of each unit in closed form, over any layer of T = ``total`` units.

        .. math::
            \mathrm{Card}(u) = [l + 1 - \max(u, l_s)]_+ + [l + 1 - \max(T + 1 - u, l_s)]_+

        With T = l and l_s = 1 this is l + 1 for every unit (Eq. 9). With l_s > 1 the counts fall
        off towards *both* ends; Eq. 19 keeps them constant up to the right end, which is an error.

        Returns:
            int64 array, shape ``(self.total(l, base),)``.
        """
        total = self.total(l, base)
        u = np.arange(1, total + 1)  # (total,)
        left = np.maximum(l + 1 - np.maximum(u, base), 0)
        right = np.maximum(l + 1 - np.maximum(total + 1 - u, base), 0)
        return left + right


@dataclass(frozen=True)
class BCv2(BC):
    """BCNetV2: BC on a layer widened by the smallest width, so that every unit is used equally.

    ``overlap="exact"`` has l + l_s units: every unit is used l + 1 - l_s times (Eq. 21), and the
    complement l + l_s - c of any width is again a width. ``overlap="paper"`` has l + l_s - 1
    (Eq. 20 with a step of one unit): the inner units are then used once more than the outer ones.
    """

    overlap: str = "exact"
    name = "BCv2"

    def __post_init__(self):
        if self.overlap not in ("exact", "paper"):
            raise ValueError(f"BCv2 overlap must be 'exact' or 'paper', got {self.overlap!r}")

    def total(self, l: int, base: int = 1) -> int:
        """Units in the supernet layer: ``l + base``; ``l + base - 1`` for ``overlap="paper"``."""
        _check_layer(l, base)
        return int(l + base - (self.overlap == "paper"))


@dataclass(frozen=True)
class Cyclic(_Windows):
    """Every window start is used equally; a window that runs past the end wraps around.

    Not in the paper: the control that is as fair as BC without its left/right symmetry.
    A path that wraps has ``stop > total``.
    """

    name = "Cyclic"

    def total(self, l: int, base: int = 1) -> int:
        """Units in the supernet layer: l."""
        _check_layer(l, base)
        return int(l)

    def paths(self, c: int, l: int, base: int = 1) -> tuple[tuple[int, int], ...]:
        """All l windows of width c, ``((0, c), (1, c + 1), …, (l - 1, l - 1 + c))``."""
        _check_width(c, l, base)
        return tuple((s, int(s + c)) for s in range(l))

    def cardinality_formula(self, l: int, base: int = 1) -> np.ndarray:
        r"""Uses of each unit: width c covers it from c of its l starts.

        .. math:: \mathrm{Card}(u) = \sum_{c=l_s}^{l} c = \tfrac12 (l + l_s)(l + 1 - l_s)

        Returns:
            int64 array, shape ``(l,)``.
        """
        _check_layer(l, base)
        return np.full(l, (l + base) * (l + 1 - base) // 2, dtype=np.int64)
