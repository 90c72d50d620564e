"""Records keep what was measured whole; intervals and tables say how sure we are."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import bcnet_lib
from bcnet_lib.intervals import detectable, holm, seeds_needed
from bcnet_lib.results import (
    Comparison,
    Interval,
    LedgerError,
    Measured,
    PaperVsOurs,
    Record,
    RecordError,
    headline,
    library_hash,
    mean_interval,
    measured,
    paired_difference,
)

ROWS = [
    {"seed": s, "method": m, "kendall": 0.7 + 0.01 * s + (m == "BC") * 0.05}
    for m in ("UA", "BC")
    for s in (2, 0, 1)
]


def record(**changes):
    settings = dict(
        headline="kendall 0.71 ± 0.02 (3 seeds), digits",
        rows=ROWS,
        experiment="ranking",
        profile="digits",
        parameters={"epochs": 3, "widths": np.array([1, 2]), "lr": np.float64(0.1)},
        measured=Measured(1.25, 10**6),
    )
    return Record.new(**(settings | changes))


# ---------------------------------------------------------------------------- statistics


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30), st.floats(0.5, 0.99))
def test_the_interval_is_students(values, level):
    ours = mean_interval(values, level)
    x = np.asarray(values)
    if x.std() < 1e-9:
        assert ours.half == pytest.approx(0, abs=1e-3)
        return
    low, high = stats.t.interval(level, x.size - 1, loc=x.mean(), scale=stats.sem(x))
    assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    samples = [mean_interval(rng.normal(3, 2, size=5)) for _ in range(2000)]
    hits = np.mean([i.low <= 3 <= i.high for i in samples])
    assert 0.93 < hits < 0.97


def test_one_value_has_no_interval_and_says_so():
    one = mean_interval([0.5])
    assert one.n == 1 and math.isinf(one.half) and str(one) == "0.50 (no interval)"


def test_a_count_is_exact_and_needs_no_seeds():
    half = Interval(0.5, 0.0, 1)
    row = Comparison(claim="eq22", place="Table 11", paper="less", ours=half, verdict="reproduced",
                     profile="digits", unit="times")  # fmt: skip
    assert half.exact and row.cells()["ours"] == "0.50 times (exact, digits)"
    assert not mean_interval([0.5, 0.5]).exact and not mean_interval([0.5]).exact


def test_pairing_removes_what_the_seed_does_to_both():
    seed_effect = np.array([0.0, 5.0, -3.0, 8.0])
    difference = paired_difference(seed_effect + 1.0, seed_effect)
    assert difference.mean == pytest.approx(1) and difference.half == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mean_interval([]), "non-empty"),
        (lambda: mean_interval([1.0, math.nan]), r"NaN or infinity at position \[1\]"),
        (lambda: mean_interval([1.0, 2.0], level=95), "level must lie between 0 and 1, got 95"),
        (lambda: paired_difference([1, 2, 3], [1, 2]), "a has 3, b has 2"),
    ],
)
def test_bad_samples_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()


def test_the_headline_says_the_result_first():
    text = headline("kendall", [0.72, 0.74, 0.76], "digits", "1,024 networks")
    assert text == "kendall 0.74 ± 0.05 (3 seeds), digits, 1,024 networks"


# ---------------------------------------------------------------------------- records


def test_a_record_comes_back_as_it_was_saved(tmp_path):
    saved = record()
    path = saved.save(tmp_path / "deep" / "results.json")
    assert Record.load(path) == saved
    body = json.loads(path.read_text())
    assert next(iter(body)) == "headline" and body["parameters"]["widths"] == [1, 2]
    assert set(body["versions"]) == {"python", "torch", "numpy", "bcnet_lib"}
    assert body["versions"]["bcnet_lib"] == bcnet_lib.__version__
    assert body["library"] == library_hash()
    assert body["commit"] is None or len(body["commit"]) == 40


def test_values_come_in_the_order_of_seeds():
    r = record()
    assert r.values("kendall", method="UA") == pytest.approx([0.70, 0.71, 0.72])
    gain = paired_difference(r.values("kendall", method="BC"), r.values("kendall", method="UA"))
    assert gain.mean == pytest.approx(0.05)
    assert list(r.frame().columns) == ["seed", "method", "kendall"]
    assert r.interval("kendall", method="UA").n == 3


def test_ambiguous_or_unknown_questions_are_refused():
    with pytest.raises(RecordError, match="each seed must occur once"):
        record().values("kendall")
    with pytest.raises(RecordError, match="no column"):
        record().values("accuracy")
    with pytest.raises(RecordError, match="matches 0 rows"):
        record().values("kendall", method="BCv2")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rows": [{"seed": 0, "acc": math.nan}]}, r"NaN or infinity at ranking.rows\[0\].acc"),
        ({"parameters": {"lr": math.inf}}, "NaN or infinity at ranking.parameters.lr"),
        ({"rows": [{"seed": 0, "acc": None}]}, "say in `missing` why"),
        ({"rows": []}, "measured nothing"),
        ({"rows": [{"acc": 0.5}]}, "no integer 'seed'"),
        ({"rows": [{"seed": True, "acc": 0.5}]}, "no integer 'seed'"),
        ({"rows": [{"seed": 0, "a": 1}, {"seed": 1, "b": 1}]}, "row 1 has columns"),
        ({"headline": "  "}, "one line that says what was measured"),
        ({"headline": "two\nlines"}, "one line"),
        ({"profile": 3}, "field 'profile' is int"),
    ],
)
def test_records_that_would_mislead_are_refused(changes, says):
    with pytest.raises(RecordError, match=says):
        record(**changes)


def test_a_missing_number_is_none_with_a_reason(tmp_path):
    r = record(rows=[{"seed": 0, "acc": None}], missing="the budget ran out")
    assert Record.load(r.save(tmp_path / "r.json")).missing == "the budget ran out"
    with pytest.raises(RecordError, match="the budget ran out"):
        r.values("acc")


def test_what_json_cannot_hold_is_refused_and_leaves_the_old_record(tmp_path):
    path = record().save(tmp_path / "results.json")
    before = path.read_bytes()
    with pytest.raises(RecordError, match="cannot be written as JSON"):
        record(parameters={"model": object()}).save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["results.json"]


def test_an_edited_number_is_noticed(tmp_path):
    path = record().save(tmp_path / "results.json")
    path.write_text(path.read_text().replace('"epochs": 3', '"epochs": 4'))
    with pytest.raises(RecordError, match="changed after it was written"):
        Record.load(path)


@pytest.mark.parametrize("cut", [0, 1, 40, 400])
def test_a_truncated_record_is_noticed(tmp_path, cut):
    path = record().save(tmp_path / "results.json")
    path.write_text(path.read_text()[:cut])
    with pytest.raises(RecordError, match="not a whole JSON file"):
        Record.load(path)


def test_other_json_is_not_a_record(tmp_path):
    path = tmp_path / "results.json"
    path.write_text('{"format": 99}')
    with pytest.raises(RecordError, match="format 1 .found 99"):
        Record.load(path)
    path.write_text("[1, 2]")
    with pytest.raises(RecordError, match="found 'list'"):
        Record.load(path)


def test_a_crash_while_writing_leaves_the_old_record(tmp_path, monkeypatch):
    path = record().save(tmp_path / "results.json")
    before = path.read_bytes()

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        record(headline="newer").save(path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["results.json"]


def test_the_library_hash_is_the_same_in_another_process():
    code = "from bcnet_lib.results import library_hash; print(library_hash())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == library_hash()


def test_measured_fills_time_and_memory_even_when_the_block_fails():
    with pytest.raises(RuntimeError), measured() as m:
        raise RuntimeError
    assert m.wall_seconds > 0 and m.peak_memory_bytes > 10**6


# ---------------------------------------------------------------------------- paper beside ours


def table():
    ours = Interval(0.74, 0.02, 12)
    return PaperVsOurs(
        (
            Comparison(claim="BC ranks <better>", place="Table 9", paper=0.7, ours=ours,
                       profile="digits", verdict="trend only"),
            Comparison(claim="base count", place="Eq. 19", paper="l + 1", ours="2(l + 1 - l_s)",
                       verdict="contradicted"),
            Comparison(claim="top-1", place="Abstract", paper=77.53, ours=None, unit="%"),
        ),
        caption="Three claims",
    )  # fmt: skip


def test_the_table_puts_paper_ours_and_difference_side_by_side():
    first, second, third = table().frame().to_dict("records")
    assert first["ours (mean ± 95 %)"] == "0.74 ± 0.02 (12 seeds, digits)"
    assert first["difference"] == "+0.04" and first["paper"] == "0.70"
    assert second["difference"] == "–" and second["verdict"] == "contradicted"
    assert third["paper"] == "77.53 %" and third["ours (mean ± 95 %)"] == "–"
    assert third["verdict"] == "not attempted"


def test_the_table_is_accessible_html_and_plain_text():
    html = table()._repr_html_()
    assert "<caption>Three claims</caption>" in html and 'scope="row"' in html
    assert html.count('scope="col"') == 6 and html.count("<tr>") == 4
    assert "&lt;better&gt;" in html and "<better>" not in html
    assert html == table()._repr_html_()  # stored outputs are compared
    text = str(table()).splitlines()
    assert text[0] == "Three claims" and len(text) == 5 and repr(table()) == str(table())


def test_a_verdict_needs_a_number_of_ours():
    with pytest.raises(LedgerError, match="without a number of ours"):
        Comparison(claim="x", place="Table 9", paper=1.0, ours=None, verdict="reproduced")
    with pytest.raises(LedgerError, match="none of"):
        Comparison(claim="x", place="Table 9", paper=1.0, ours=1.0, verdict="confirmed")


def test_holm_by_hand():
    adjusted = holm([0.04, 0.01, 0.03])  # 0.01 x 3, 0.03 x 2, then not below the one before
    np.testing.assert_allclose(adjusted, [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm([1.2])


@pytest.mark.parametrize("n", [5, 8, 50])
def test_what_is_detectable_is_found_in_four_of_five_runs(n):
    values = [0.1, 0.5, 0.3, 0.9]
    s, t = np.std(values, ddof=1), stats.t.ppf(0.975, n - 1)
    shift = detectable(values, n=n) / s * np.sqrt(n)  # of the test statistic
    assert 1 - stats.nct.cdf(t, n - 1, shift) == pytest.approx(0.8, abs=0.03)
    assert detectable(values) == detectable(values, n=4)


def test_seeds_needed_are_the_fewest():
    values = np.array([0.3, -0.1, 0.2, 0.5, -0.2, 0.1])
    n = seeds_needed(values)
    assert detectable(values, n=n) <= values.mean() < detectable(values, n=n - 1)
    assert seeds_needed(values - values.mean() + 1e-9) is None
    assert seeds_needed(-values) == n
    with pytest.raises(ValueError, match="at least two values and seeds, got 1 and 1"):
        detectable([1.0])
    with pytest.raises(ValueError, match="power must lie"):
        detectable(values, power=1)


def test_seeds_needed_for_a_stated_effect_find_it_and_one_fewer_do_not():
    values = np.random.default_rng(0).normal(3.0, 1.0, size=10)  # their own mean does not count
    n = seeds_needed(values, effect=0.5)
    assert detectable(values, n=n) <= 0.5 < detectable(values, n=n - 1)
    assert seeds_needed(values) == seeds_needed(values, effect=values.mean()) < n
