"""The ledger of claims holds together: every verdict has evidence, every mention has a claim."""

import re
from html import escape
from pathlib import Path

import pytest

from bcnet_lib.claims import KINDS, VERDICTS, Claim, Ledger, LedgerError

ROOT = Path(__file__).parent.parent
LEDGER = Ledger.read(ROOT / "book/data/claims.yaml")


def claim(**changes):
    return Claim(**({"id": "x", "statement": "s", "place": "Eq. 1", "kind": "math"} | changes))


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


# ---------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"id": "Eq 19"}, "lower-case"),
        ({"kind": "theorem"}, "kind 'theorem'"),
        ({"verdict": "holds"}, "verdict 'holds'"),
        ({"verdict": "reproduced"}, "without evidence"),
        ({"statement": " "}, "needs a statement"),
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
