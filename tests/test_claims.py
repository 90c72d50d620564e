"""The ledger of claims holds together: every verdict has evidence, every mention has a claim."""

import posixpath
import re
import shlex
from dataclasses import replace
from html import escape
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from bcnet_lib.ablations import EXPERIMENTS
from bcnet_lib.ablations.findings import Finding, better
from bcnet_lib.ablations.verdicts import findings_on
from bcnet_lib.claims import KINDS, VERDICTS, Claim, Ledger, LedgerError
from bcnet_lib.intervals import mean_interval
from bcnet_lib.results import Measured, Record
from tests.arithmetic import SMOKE, SUMS

ROOT = Path(__file__).parent.parent
LEDGER = Ledger.read(ROOT / "book/data/claims.yaml")


def claim(**changes):
    about = {"id": "x", "statement": "s", "place": "Eq. 1", "kind": "math", "command": "make x"}
    return Claim(**(about | changes))


# ---------------------------------------------------------------------------- our ledger


def test_no_claim_test_or_chapter_is_an_orphan():
    assert LEDGER.orphans(ROOT) == []


def test_the_ledger_covers_the_whole_paper():
    places = " ".join(c.place for c in LEDGER.claims)
    for section in "4567":
        assert re.search(rf"Sections? {section}", places), f"section {section}"

    def numbers(word):
        found = set()
        for run in re.findall(rf"{word}s?\.? ((?:\d+(?:\(c\))?(?:-| and |, )?)+)", places):
            for low, high in re.findall(r"(\d+)(?:-(\d+))?", run):
                found |= set(range(int(low), int(high or low) + 1))
        return found

    assert numbers("Table") == {1, *range(2, 14)}
    assert numbers("Fig") >= set(range(3, 12))
    assert numbers("Eq") >= set(range(1, 23)) - {16, 17}  # 16 and 17 only define the base width


def test_todays_verdicts_rest_on_tests_of_this_repository():
    for c in LEDGER.claims:
        assert (c.verdict == "not attempted") or all(
            e.startswith(("tests/", "book/")) for e in c.evidence
        ), c.id


def test_every_open_claim_has_a_command_that_can_be_started():
    for c in LEDGER.claims:
        assert c.verdict != "not attempted" or c.command, c.id
        for line in c.command.splitlines():
            words = shlex.split(line)
            if words[:2] == ["python", "-m"]:
                assert find_spec(words[2]), f"claim {c.id}: no module {words[2]}"
            else:
                assert words[:2] == ["make", "ablations"], f"claim {c.id}: {line.strip()}"


def test_the_page_shows_the_command_of_a_claim():
    html = claim(command="python -m a > b\nmake c").cells()
    assert "To decide it: <code>python -m a &gt; b</code><br><code>make c</code>" in html
    assert "To decide it" not in claim(verdict="reproduced", command="", evidence=("t",)).cells()


def test_every_claim_is_counted_once():
    counts = LEDGER.counts()
    assert counts.loc["all", "all"] == len(LEDGER) == len(LEDGER.claims)
    assert list(counts.columns) == [*VERDICTS, "all"] and list(counts.index) == [*KINDS, "all"]
    assert counts.loc["math", "all"] == sum(c.kind == "math" for c in LEDGER.claims)


def test_every_claim_has_an_anchor_and_a_verdict_on_its_page():
    html = LEDGER._repr_html_()
    for c in LEDGER.claims:
        assert html.count(f'id="claim-{c.id}"') == 1
    assert html.count('class="verdict"') == len(LEDGER) and "<caption>" in html


def test_the_legend_explains_every_verdict():
    legend = LEDGER.legend()
    for verdict, means in VERDICTS.items():
        assert verdict in repr(legend) and means in repr(legend)
        assert verdict in legend._repr_html_() and escape(means) in legend._repr_html_()


def test_a_claim_is_found_by_its_id():
    assert LEDGER["eq19"].verdict == "contradicted"
    with pytest.raises(LedgerError, match="no claim 'eq91'"):
        LEDGER["eq91"]


# ---------------------------------------------------------------------------- verdicts from records

BY_RECORDS = {
    *("group-number", "base-width", "bcv2-better", "components", "complement-accuracy"),
    *("evolution-beats-greedy", "prior-start", "iterative-accuracy", "iterative-memory"),
    "width-patterns",
}


def test_no_verdict_on_an_ablation_is_typed():
    entries = yaml.safe_load((ROOT / "book/data/claims.yaml").read_text())
    assert {e["id"] for e in entries if e.get("verdict") == "from records"} == BY_RECORDS
    assert {c.id for c in LEDGER.claims if c.experiment} == BY_RECORDS


def test_the_ledger_says_what_the_largest_record_finds():
    for id in BY_RECORDS:
        found = findings_on(id, ROOT / "figures")
        if found:
            assert LEDGER[id].verdict == found[-1].verdict
            assert found[-1].note in LEDGER[id].note and found[-1].ours.text() in LEDGER[id].note
            page = f"book/ablations/{EXPERIMENTS[LEDGER[id].experiment].notebook}"
            assert posixpath.normpath(page) in LEDGER[id].evidence
        else:
            assert LEDGER[id].verdict == "not attempted"
            assert (
                f"make ablations PROFILE=digits ONLY={LEDGER[id].experiment}" in LEDGER[id].command
            )


@pytest.fixture
def sums(monkeypatch):
    """An experiment whose finding on the claim "x" is better or worse, as its record's rows are."""

    def findings(record):
        ours = mean_interval(record.values("total"))
        about = {"what": "total", "paper": "above 0", "verdict": better(ours), "note": "A sum."}
        return [Finding(claim="x", place="Eq. 1", ours=ours, profile=record.profile, **about)]

    profiles = {name: SMOKE for name in ("smoke", "digits", "cifar10")}
    monkeypatch.setitem(EXPERIMENTS, "sums", replace(SUMS, profiles=profiles, findings=findings))


def record(profile, totals):
    rows = [{"seed": i, "total": t} for i, t in enumerate(totals)]
    options = {"experiment": "sums", "profile": profile, "parameters": {}}
    return Record.new("sums", rows, measured=Measured(), **options)


def test_a_larger_profile_decides_and_the_smaller_one_is_told(tmp_path, sums):
    path = tmp_path / "book/data/claims.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(
        "- {id: x, statement: s, place: p, kind: experiment, verdict: from records, "
        "experiment: sums, note: More., evidence: tests/a.py}"
    )
    root = tmp_path / "figures/sums"

    record("smoke", [1.0, 1.1, 1.2]).save(root / "smoke/results.json")
    claim = Ledger.read(path)["x"]  # a trial decides nothing
    assert claim.verdict == "not attempted" and claim.evidence == ("tests/a.py",)
    assert claim.note == "No record yet. More."
    assert claim.command == "make ablations PROFILE=digits ONLY=sums"

    record("digits", [1.0, 1.1, 1.2]).save(root / "digits/results.json")
    claim = Ledger.read(path)["x"]
    assert claim.verdict == "reproduced"
    assert claim.evidence == ("book/ablations/sums.ipynb", "tests/a.py")
    assert claim.note == "Total: 1.10 ± 0.25 points (3 seeds, profile digits). A sum. More."

    record("cifar10", [-1.0, -1.1, -1.2]).save(root / "cifar10/results.json")
    claim = Ledger.read(path)["x"]
    assert claim.verdict == "contradicted"
    assert "-1.10" in claim.note and "At profile digits: reproduced." in claim.note

    record("cifar10", [-1.0]).save(root / "cifar10/results.json")  # one seed tells nothing
    claim = Ledger.read(path)["x"]
    assert claim.verdict == "reproduced" and "(3 seeds, profile digits)" in claim.note
    assert "At profile cifar10: not reproduced." in claim.note
    (root / "digits/results.json").unlink()
    assert Ledger.read(path)["x"].verdict == "not reproduced"


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "Eq 19"}, "lower-case"),
        ({"kind": "theorem"}, "kind 'theorem'"),
        ({"verdict": "holds"}, "verdict 'holds'"),
        ({"verdict": "reproduced"}, "without evidence"),
        ({"statement": " "}, "needs a statement"),
        ({"command": " "}, "claim x: not attempted, and no command that would decide it"),
    ],
)
def test_a_malformed_claim_is_refused(changes, says):
    with pytest.raises(LedgerError, match=says):
        claim(**changes)


def test_duplicate_ids_are_refused():
    with pytest.raises(LedgerError, match="used twice: x"):
        Ledger((claim(), claim(statement="other")))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[", "is not YAML"),
        ("a: 1", "a ledger is a list"),
        ("", "a ledger is a list"),
        ("- 3", "claim 1: expected a mapping"),
        ("- {id: x, statement: s, place: p, kind: math, colour: red}", "claim 'x': .*colour"),
        ("- {id: x, statement: s, place: p}", "claim 'x': .*kind"),
        ("- {id: x, statement: s, place: p, kind: math}", "no command that would decide it"),
        ("- {id: x, statement: s, place: p, kind: math, verdict: from records}", "an experiment"),
        (
            "- {id: x, statement: s, place: p, kind: math, verdict: reproduced, experiment: y}",
            "'from records' goes with an experiment",
        ),
        (
            "- {id: x, statement: s, place: p, kind: math, verdict: from records, experiment: y}",
            "claim x: unknown experiment 'y'; known are",
        ),
    ],
)
def test_a_malformed_file_is_refused(tmp_path, text, says):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(LedgerError, match=says):
        Ledger.read(path)


def test_orphans_are_found_on_every_side(tmp_path):
    (tmp_path / "tests").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "tests/test_a.py").write_text(
        "def test_real():\n    pass\n\n\nclass TestB:\n    def test_m(self):\n        pass\n"
    )
    (tmp_path / "book/page.md").write_text("See claim:known, claim:ghost and {claim}`spook`.")
    held = {"verdict": "reproduced"}
    ledger = Ledger(
        (
            claim(id="known", evidence=("tests/test_a.py::test_real",), **held),
            claim(id="method", evidence=("tests/test_a.py::TestB::test_m",), **held),
            claim(id="lost-test", evidence=("tests/test_a.py::test_gone",), **held),
            claim(id="lost-file", evidence=("tests/test_b.py::test_real",), **held),
        )
    )
    assert ledger.orphans(tmp_path) == [
        "claim lost-test: tests/test_a.py has no test test_gone",
        "claim lost-file: evidence tests/test_b.py does not exist",
        "book/page.md mentions claim:ghost, not in the ledger",
        "book/page.md mentions claim:spook, not in the ledger",
    ]
