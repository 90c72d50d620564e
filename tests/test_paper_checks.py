"""Each check of printed results finds what is planted in made-up rows, and nothing else."""

import dataclasses

import pytest
import torch
from printed import FOLDER, number, row, said, widths
from torch.utils.flop_counter import FlopCounterMode

from bcnet_lib import paper_checks as checks
from bcnet_lib.networks import make
from bcnet_lib.paper_tables import Paper, TableError, read_folder


@pytest.fixture(scope="module")
def paper() -> Paper:
    return read_folder(FOLDER)


# ---------------------------------------------------------------------------- counting


def test_counts_are_those_of_the_built_network():
    """By torch's own counter, on widths beyond the network's own as well."""
    given = widths([30, 8, *[96] * 2, 24, *[200] * 20], budget="1G", K=None)
    model = make("mobilenet_v2")
    full = [g.width for g in checks.known_space("mobilenet_v2").groups]
    assert len(full) == len(given.values) and given.channels(tuple(full)) == given.values
    ours, built = checks.counted("mobilenet_v2", given), checks.network(given).eval()
    with FlopCounterMode(display=False) as counter:
        built(torch.zeros(1, 3, 224, 224))
    assert ours.macs == counter.get_total_flops() / 2
    assert ours.params == sum(p.numel() for p in built.parameters())
    original = checks.counted("mobilenet_v2")
    assert original.params == sum(p.numel() for p in model.parameters())


def test_units_are_parts_of_the_layer_rounded_up():
    assert widths([7, 20], K=20).channels((32, 16)) == (12, 16)
    assert widths([7, 20], K=20, layers=(53, 26)).channels((32, 16)) == (19, 26)
    with pytest.raises(TableError, match="2 widths, and 'mobilenet_v2' has 25 groups"):
        checks.counted("mobilenet_v2", widths([7, 20]))


def test_autoslim_s_released_widths_cost_what_its_authors_print(paper):
    """Seven networks; a slip in how we read the widths would show here."""
    rows = [r for r in paper.rows if r.method == "AutoSlim"]
    check = checks.costs(rows, paper.widths)
    assert check.compared == len(rows) == 7 and not check.findings


def test_released_widths_for_150_and_50_million_nearly_use_their_budget(paper):
    """All but the one whose supernet has other layers than the network that is trained."""
    shares = {}
    for name, w in paper.widths.items():
        if name.startswith(("released-mbv2-150m", "released-mbv2-50m")):
            shares[name] = checks.counted(w.network, w).macs / w.budget.value
    assert len(shares) == 9
    above = {name for name, share in shares.items() if share > 1}
    assert above == {"released-mbv2-150m-min7"}
    assert all(share > 0.96 for share in shares.values())
    for name, w in paper.widths.items():
        if "-min" in name:
            least = int(name.split("-min")[1].partition("-")[0])
            assert min(w.values) >= least, f"{name} has a width below the smallest it names"


# ---------------------------------------------------------------------------- made-up rows


def test_recounting_finds_a_wrong_count_and_only_that():
    good = row(macs="301M", params="3.5M", widths="original")
    assert checks.costs([good], {}).findings == ()
    wrong = row(macs="305M", params="3.5M", widths="original")
    check = checks.costs([good, wrong, row(macs="305M")], {})  # the last: nothing to compare with
    assert check.compared == 4
    (finding,) = check.findings
    assert finding.said == "305M" and finding.found == "300.77M" and "MACs" in finding.what
    (finding,) = checks.costs([row(params="3.6M", widths="original")], {}).findings
    assert "parameters" in finding.what


def test_a_network_above_its_budget_is_found():
    half = widths([10] * 25, budget="150M")
    assert checks.counted("mobilenet_v2", half).macs < 150e6
    assert not checks.budgets([half]).findings
    small = dataclasses.replace(half, budget=number("50M"))
    share = dataclasses.replace(half, budget=number("20%"))
    check = checks.budgets([half, small, share])
    assert check.compared == 3
    assert [f.said for f in check.findings] == ["50M", "20%"]


def test_the_same_row_with_other_numbers_is_found():
    first = row(macs="305M", top1="73.9")
    same = row(macs="305M", top1="73.90", top5="91.5")
    other_macs = row(macs="207M", top1="72.0")
    other_method = row(method="b", macs="305M", top1="70.1")
    assert not checks.twice([first, same, other_macs, other_method]).findings
    changed = row(macs="305M", top1="73.6")
    check = checks.twice([first, same, changed])
    assert [(f.said, f.found) for f in check.findings] == [("73.9", "73.6"), ("73.90", "73.6")]
    ours = row(macs="305M", top1="74.2", widths="w")
    again = row(macs="0.32G", widths="w")
    (finding,) = checks.twice([ours, again]).findings
    assert finding.what.endswith("MACs")
    theirs = row(method="b", macs="0.32G", top1="72.7", widths="w")  # by others: another check
    assert checks.twice([ours, theirs]).compared == 0
    (finding,) = checks.reruns([ours, theirs]).findings
    assert (finding.said, finding.found) == ("74.2", "72.7")
    assert checks.reruns([ours, first]).compared == 0


def test_reductions_are_added_up_again():
    full = checks.counted("resnet50").macs
    assert 4.08e9 < full < 4.10e9
    good = row("resnet50", macs="2.0G", saved="51%")
    wrong = row("resnet50", macs="2.0G", saved="56%")
    check = checks.savings([good, wrong, row("resnet50", macs="2.0G", top1="70")])
    assert check.compared == 2
    (finding,) = check.findings
    assert finding.said == "56%" and finding.found == f"{100 * (1 - 2e9 / full):.1f} %"


def test_sentences_are_held_against_rows():
    rows = [row(macs="305M", top1="74.2"), row(method="b", macs="301M", top1="71.8")]
    right = [said("74.2"), said("2.4", "b"), said("74.2", macs="305M")]
    check = checks.prose(right, rows)
    assert check.compared == 3 and not check.findings
    check = checks.prose([said("75.2"), said("3.4", "b"), said("70.0", method="nobody")], rows)
    assert check.compared == 2
    assert [(f.said, f.found) for f in check.findings] == [("75.2", "74.20"), ("3.4", "2.40")]
    other_macs = checks.prose([said("74.2", macs="207M")], rows)
    assert other_macs.compared == 0


def test_two_places_must_imply_the_same_third_number():
    agree = [said("77.53"), said("0.65", "old"), said("77.36", place="x", method="c")]
    agree += [said("0.48", "old", place="x", method="c")]
    check = checks.implied(agree)
    assert check.compared == 1 and not check.findings
    differ = [*agree[:3], said("0.58", "old", place="x", method="c")]
    (finding,) = checks.implied(differ).findings
    assert (finding.said, finding.found) == ("76.88", "76.78")
    assert checks.implied(agree[:3]).compared == 0


def test_the_front_is_what_no_row_beats():
    rows = [
        row(method=name, macs=macs, top1=top1)
        for name, macs, top1 in [
            ("cheap", "100M", "65"),
            ("beaten", "200M", "64"),
            ("middle", "200M", "70"),
            ("equal but dearer", "300M", "70"),
            ("best", "400M", "75"),
        ]
    ]
    rows += [row(method="no accuracy", macs="1M", params="1M"), row(method="no cost", top1="99")]
    table = checks.front(rows, {})
    assert len(table) == 5 and list(table.macs) == sorted(table.macs)
    assert list(table[table.front].method) == ["cheap", "middle", "best"]
    ours = checks.front([row(macs="999M", top1="72", widths="original")], {})
    assert ours.macs[0] == pytest.approx(300.774, abs=1e-3)  # counted, not as printed
    assert checks.front([], {}).empty
