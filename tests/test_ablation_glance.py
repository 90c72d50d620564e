"""The page of all ablations: a row for every claim, a cost for every record, a way to every gap."""

from pathlib import Path

import pytest

from bcnet_lib.ablations import EXPERIMENTS, glance
from bcnet_lib.ablations.findings import Finding, better
from bcnet_lib.ablations.verdicts import findings_on
from bcnet_lib.claims import Ledger
from bcnet_lib.intervals import mean_interval
from bcnet_lib.plots_glance import forest
from bcnet_lib.results import Record

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "figures"
LEDGER = Ledger.read(ROOT / "book/data/claims.yaml")


def test_every_claim_that_records_decide_has_a_row_a_record_or_an_open_one():
    rows = glance.claims_table(LEDGER, FIGURES).rows
    for claim in glance.ledger_claims(LEDGER):
        own = [r for r in rows if r.claim == claim.id]
        assert len(own) == max(1, len(findings_on(claim.id, FIGURES)))
        assert own[-1].verdict == claim.verdict


def test_every_experiment_and_profile_has_a_row_with_what_its_record_took():
    table = glance.profiles_table(FIGURES).set_index(["experiment", "profile"])
    assert set(table.index) == {(n, p) for n, e in EXPERIMENTS.items() for p in e.profiles}
    path = FIGURES / "ranking/digits/results.json"
    record, row = Record.load(path), table.loc[("ranking", "digits")]
    assert row.seeds == len(record.parameters["seeds"])
    assert float(row["core minutes"]) == round(record.parameters["core_seconds"] / 60)
    assert row.epochs == round(2880 * 32 / 593)  # the benchmark trains on 593 images
    assert table.loc[("ranking", "paper"), "core minutes"] == ""


def test_settings_that_experiments_share_stand_in_one_row():
    table = glance.settings_table(glance.profiles_table(FIGURES))
    assert not table.drop(columns="experiments").duplicated().any()
    named = [name for row in table.experiments for name in row.split(", ")]
    assert len(named) == sum(len(e.profiles) for e in EXPERIMENTS.values())


def test_what_is_open_and_what_is_there_are_all_profiles_but_smoke(tmp_path):
    every = {(n, p) for n, e in EXPERIMENTS.items() for p in e.profiles if p != "smoke"}
    empty = glance.missing_records(tmp_path)
    assert set(zip(empty.experiment, empty.profile, strict=True)) == every
    now = glance.missing_records(FIGURES)
    there = {(p.parents[1].name, p.parent.name) for p in FIGURES.glob("*/*/results.json")}
    assert set(zip(now.experiment, now.profile, strict=True)) == every - there
    for row in empty.itertuples():
        assert row.command.startswith(f"make ablations PROFILE={row.profile} ONLY={row.experiment}")


def finding(claim, values, unit="points"):
    ours = mean_interval(values)
    about = {"place": "Table 1", "what": "a", "paper": "b", "note": "c", "profile": "digits"}
    return Finding(claim=claim, ours=ours, verdict=better(ours), unit=unit, **about)


def test_the_forest_shows_intervals_and_leaves_other_units_out():
    figure = forest(
        [finding("up", [1.0, 1.2]), finding("one", [2.0]), finding("memory", [0.5, 0.6], "times")]
    )
    assert "up, digits, 2 seeds: 1.10 ± 1.27 points, not reproduced" in figure.alt
    assert "one, digits, 1 seeds: 2.00 (no interval) points" in figure.alt
    assert "memory" not in figure.alt
    (ax,) = figure.axes
    low, high = next(line.get_xdata() for line in ax.lines if len(line.get_xdata()) == 2 and
                     line.get_xdata()[0] != line.get_xdata()[1])  # fmt: skip
    assert (low, high) == pytest.approx((1.1 - 1.2706, 1.1 + 1.2706), abs=1e-3)


def test_a_forest_without_a_finding_of_its_unit_says_so():
    with pytest.raises(ValueError, match="no finding in points: the units are .'times'."):
        forest([finding("memory", [0.5, 0.6], "times")])
