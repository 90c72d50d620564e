"""The mathematics of the sharing principles, checked by enumeration over every small layer."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bcnet_lib import BC, UA, BCv2, Cyclic, WidthError

PRINCIPLES = [UA(), BC(), BCv2(), BCv2(overlap="paper"), Cyclic()]
LARGEST = 48
# every layer of up to 48 units with every base width, the base last
LAYERS = [(l, base) for l in range(1, LARGEST + 1) for base in range(1, l + 1)]


def named(principle):
    return principle.name + getattr(principle, "overlap", "").replace("exact", "")


every_principle = pytest.mark.parametrize("p", PRINCIPLES, ids=named)


@st.composite
def layers(draw, largest=300):
    l = draw(st.integers(1, largest))
    return l, draw(st.integers(1, l))


def uses(paths, total):
    """How often each unit occurs in the given windows, counted without the library's counter."""
    units = chain.from_iterable(range(start, stop) for start, stop in paths)
    return np.bincount([u % total for u in units], minlength=total)


# ---------------------------------------------------------------------------- windows and counts


@every_principle
def test_enumeration_equals_the_closed_form(p):
    for l, base in LAYERS:
        counted = p.cardinality(l, base)
        assert counted.shape == (p.total(l, base),)
        np.testing.assert_array_equal(counted, p.cardinality_formula(l, base), f"{l=} {base=}")


@every_principle
@settings(deadline=None)  # a busy machine is no counterexample
@given(layer=layers())
def test_enumeration_equals_the_closed_form_on_wide_layers(p, layer):
    np.testing.assert_array_equal(p.cardinality(*layer), p.cardinality_formula(*layer))


@every_principle
def test_cardinality_is_what_the_windows_add_up_to(p):
    for l, base in [(1, 1), (6, 1), (6, 2), (7, 7), (20, 5), (20, 13)]:
        paths = [w for c in range(base, l + 1) for w in p.paths(c, l, base)]
        np.testing.assert_array_equal(p.cardinality(l, base), uses(paths, p.total(l, base)))


@every_principle
def test_every_window_holds_exactly_the_width(p):
    for l, base in [(1, 1), (6, 2), (20, 5), (20, 20)]:
        total = p.total(l, base)
        for c in range(base, l + 1):
            for start, stop in p.paths(c, l, base):
                assert stop - start == c and 0 <= start < total
                if not isinstance(p, Cyclic):
                    assert stop <= total


@every_principle
def test_numpy_integers_go_in_and_plain_ints_come_out(p):
    for window in p.paths(np.int64(3), np.int64(6), np.int64(2)):
        assert all(type(x) is int for x in window)
    assert type(p.total(np.int64(6), np.int64(2))) is int


# ---------------------------------------------------------------------------- formula by formula


def test_fig1_on_six_channels():
    assert UA().cardinality(6).tolist() == [6, 5, 4, 3, 2, 1]
    assert BC().cardinality(6).tolist() == [7] * 6
    assert UA().paths(2, 6) == ((0, 2),)
    assert BC().paths(2, 6) == ((0, 2), (4, 6))


def test_eq6_ua_counts_fall_by_one_a_unit():
    for l in range(1, LARGEST + 1):
        assert UA().cardinality(l).tolist() == [l - u + 1 for u in range(1, l + 1)]


def test_the_printed_right_path_has_one_unit_too_many():
    for l in range(2, LARGEST + 1):
        for c in range(1, l):
            printed = range(l - c, l + 1)  # the closed range l-c : l, counted from 1
            repaired = range(l - c + 1, l + 1)
            assert len(printed) == c + 1
            start, stop = BC().paths(c, l)[1]
            assert [u + 1 for u in range(start, stop)] == list(repaired)


def test_eq9_bc_uses_every_unit_equally():
    for l in range(1, LARGEST + 1):
        assert set(BC().cardinality(l).tolist()) == {l + 1}


def test_eq18_ua_with_a_base():
    for l, base in LAYERS:
        printed = [l + 1 - max(u, base) for u in range(1, l + 1)]
        assert UA().cardinality(l, base).tolist() == printed


def test_eq19_fails_exactly_at_the_right_end():
    for l, base in LAYERS:
        u = np.arange(1, l + 1)
        printed = np.where(u <= base, l + 1 - base + u, l + 1)
        wrong = u[printed != BC().cardinality(l, base)].tolist()
        assert wrong == [x for x in range(1, l + 1) if x > l + 1 - base], (l, base)


def test_bc_counts_are_symmetric_and_uneven_with_a_base():
    for l, base in LAYERS:
        counted = BC().cardinality(l, base)
        assert counted.tolist() == counted[::-1].tolist()
        assert (len(set(counted.tolist())) == 1) == (base in (1, l))


def test_eq20_leaves_the_outer_units_one_short():
    p = BCv2(overlap="paper")
    for l, base in LAYERS:
        assert p.total(l, base) == l + base - 1
        widths = l + 1 - base
        outer = [widths] * (base - 1)
        inner = [widths + 1] * (l + 1 - base)
        assert p.cardinality(l, base).tolist() == outer + inner + outer, (l, base)


def test_eq21_holds_on_l_plus_base_units():
    for l, base in LAYERS:
        assert BCv2().total(l, base) == l + base
        assert BCv2().cardinality(l, base).tolist() == [l + 1 - base] * (l + base)


def test_no_other_total_width_is_constant():
    """l + l_s is the only layer on which the two paths of all widths use every unit equally."""
    for l, base in [(6, 2), (12, 4), (20, 5), (20, 13)]:
        flat = []
        for total in range(l, 2 * l + 1):
            windows = [w for c in range(base, l + 1) for w in ((0, c), (total - c, total))]
            if len(set(uses(windows, total).tolist())) == 1:
                flat.append(total)
        assert flat == [l + base]


def test_cyclic_uses_every_unit_and_every_start_equally():
    for l, base in LAYERS[:400]:
        assert len(set(Cyclic().cardinality(l, base).tolist())) == 1
        starts = [start for start, _ in Cyclic().paths(base, l, base)]
        assert starts == list(range(l))


def test_cyclic_wraps_where_a_window_runs_past_the_end():
    assert Cyclic().paths(3, 4) == ((0, 3), (1, 4), (2, 5), (3, 6))
    assert uses([(3, 6)], 4).tolist() == [1, 1, 0, 1]


def test_the_space_has_as_many_networks_as_the_paper_counts():
    assert f"{len(range(1, 20 + 1)) ** 25:.1e}" == "3.4e+32"


def test_the_reduced_space_counts_one_width_too_few():
    K = 20
    (base,) = [s for s in range(1, K) if f"{(K - s) ** 25:.0e}" == "7e+27"]
    assert base == 7
    widths = [c for c in range(1, K + 1) if c >= base]
    assert len(widths) == K - base + 1 == 14
    assert f"{len(widths) ** 25:.1e}" == "4.5e+28"


# ---------------------------------------------------------------------------- complements


def assert_tiles(first, second, total):
    """The two windows share no unit and leave none free."""
    assert uses([first, second], total).tolist() == [1] * total


def test_every_unit_is_trained_twice_by_a_width_and_its_complement():
    p = BCv2()
    for l, base in LAYERS:
        total = p.total(l, base)
        for c in range(base, l + 1):
            rest = p.complement(c, l, base)
            assert rest == l + base - c and p.complement(rest, l, base) == c
            (left, right), (left_, right_) = p.paths(c, l, base), p.paths(rest, l, base)
            # Windows that meet end to end cover [0, total) once: cheaper than counting units.
            assert left[0] == 0 and left[1] == right_[0] and right_[1] == total
            assert left_[0] == 0 and left_[1] == right[0] and right[1] == total


@settings(deadline=None)
@given(layer=layers(), data=st.data())
def test_tiling_is_exact_unit_by_unit(layer, data):
    l, base = layer
    c = data.draw(st.integers(base, l))
    p = BCv2()
    total, rest = p.total(l, base), p.complement(c, l, base)
    (left, right), (left_, right_) = p.paths(c, l, base), p.paths(rest, l, base)
    assert_tiles(left, right_, total)
    assert_tiles(left_, right, total)
    assert uses([left, right, left_, right_], total).tolist() == [2] * total


def test_bc_width_and_complement_tile_the_layer():
    for l in range(2, LARGEST + 1):
        for c in range(1, l):
            rest = BC().complement(c, l)
            assert rest == l - c
            (left, right), (left_, right_) = BC().paths(c, l), BC().paths(rest, l)
            assert_tiles(left, right_, l)
            assert_tiles(left_, right, l)


def test_bc_has_no_complement_at_full_width():
    for l in range(1, LARGEST + 1):
        assert BC().complement(l, l) is None
        assert uses(BC().paths(l, l), l).tolist() == [2] * l  # and needs none


def test_bc_with_a_base_lacks_complements_at_both_ends_of_the_space():
    l, base = 20, 5
    without = [c for c in range(base, l + 1) if BC().complement(c, l, base) is None]
    assert without == [16, 17, 18, 19, 20]


def test_a_complement_does_not_make_ua_fair():
    (left,), (left_,) = UA().paths(4, 6), UA().paths(UA().complement(4, 6), 6)
    assert uses([left, left_], 6).tolist() == [2, 2, 1, 1, 0, 0]


def test_fair_channels_are_not_fair_kernels():
    """Two layers of six units whose widths are drawn independently: pairs are used unequally."""
    l = 6
    pairs = np.zeros((l, l), dtype=int)
    for a in range(1, l + 1):
        for b in range(1, l + 1):
            for (i0, i1), (j0, j1) in zip(BC().paths(a, l), BC().paths(b, l), strict=True):
                pairs[i0:i1, j0:j1] += 1
    assert pairs[0, 0] == pairs[-1, -1] == pairs.max() and pairs[0, -1] == pairs.min()
    assert pairs.max() > 2 * pairs.min()


# ---------------------------------------------------------------------------- bad inputs


@every_principle
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda p: p.paths(7, 6), "width 7 is outside 1..6"),
        (lambda p: p.paths(0, 6), "width 0 is outside 1..6"),
        (lambda p: p.paths(2, 6, 3), "width 2 is outside 3..6"),
        (lambda p: p.paths(2.0, 6), "width must be an integer number of units, got 2.0"),
        (lambda p: p.paths(True, 6), "width must be an integer number of units, got True"),
        (lambda p: p.paths("3", 6), "got '3'"),
        (lambda p: p.total(0), "at least one unit, got l=0"),
        (lambda p: p.total(6.5), "l must be an integer number of units, got 6.5"),
        (lambda p: p.total(6, 7), r"base=7 is outside 1..6 \(the layer has l=6 units\)"),
        (lambda p: p.total(6, 0), "base=0 is outside 1..6"),
        (lambda p: p.cardinality(6, 2.5), "base must be an integer number of units, got 2.5"),
        (lambda p: p.cardinality_formula(6, 9), "base=9 is outside 1..6"),
        (lambda p: p.cardinality_formula(False), "l must be an integer"),
        (lambda p: p.complement(9, 6), "width 9 is outside 1..6"),
    ],
)
def test_bad_input_is_refused_in_the_users_words(p, call, says):
    with pytest.raises(WidthError, match=says):
        call(p)


def test_unknown_overlap_is_refused():
    with pytest.raises(ValueError, match="'exact' or 'paper', got 'none'"):
        BCv2(overlap="none")


def test_principles_are_values():
    assert BCv2() == BCv2(overlap="exact") != BCv2(overlap="paper")
    assert len({UA(), UA(), BC(), Cyclic()}) == 3
    with pytest.raises(AttributeError):
        BCv2().overlap = "paper"
