"""The paper's tables as data: files are read strictly; pages show all of them."""

import dataclasses
import shutil
from pathlib import Path

import pandas as pd
import pytest
from printed import FOLDER, number, row

from bcnet_lib import paper_checks as checks
from bcnet_lib import paper_pages as pages
from bcnet_lib.networks import NETWORKS
from bcnet_lib.paper_tables import (
    TABLES,
    Paper,
    Printed,
    Table,
    TableError,
    read,
    read_folder,
)
from bcnet_lib.plots_paper import pareto, same_widths

HEAD = "network,method,macs,params,top1,top5,saved,widths,source,place\n"


@pytest.fixture(scope="module")
def paper() -> Paper:
    return read_folder(FOLDER)


# ---------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("text", "suffixes", "value", "half"),
    [
        ("2.0G", "KMG", 2e9, 5e7),
        ("305M", "KMG", 305e6, 5e5),
        ("3504872", "KMG", 3504872, 0.5),
        ("74.2", "", 74.2, 0.05),
        ("50%", "%", 50, 0.5),
    ],
)
def test_a_printed_number_is_known_to_half_its_last_digit(text, suffixes, value, half):
    found = Printed.parse(text, suffixes)
    assert found.value == pytest.approx(value) and found.half == pytest.approx(half)
    assert found.agrees(value + half) and found.agrees(value - half)
    assert not found.agrees(value + 1.01 * half) and not found.agrees(value - 1.01 * half)


@pytest.mark.parametrize("text", ["", "-1", "1,000M", "1.2.3", "1.", ".5", "M", "5x", "nan", "2 G"])
def test_what_is_no_number_is_refused(text):
    with pytest.raises(TableError, match="no positive number"):
        Printed.parse(text, "KMG")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mobilenet_v9,a,,,70,,,,own,here", "unknown network 'mobilenet_v9'"),
        ("mobilenet_v2,a,,,70,,,,hearsay,here", "source 'hearsay' is none of"),
        ("mobilenet_v2,a,,,170,,,,own,here", "top1 is 170 %, outside"),
        ("mobilenet_v2,a,,,70,60,,,own,here", "top5 60 is below top1 70"),
        ("mobilenet_v2,a,,,70,,,,not at hand,here", "numbers without a source"),
        ("mobilenet_v2,a,,,,,,,own,here", "without any number"),
        ("mobilenet_v2,a,,,70,,,,own,", "needs a method and the place"),
        ("mobilenet_v2,a,three,,70,,,,own,here", "column macs: 'three'"),
        ("mobilenet_v2,a,,,70%,,,,own,here", "column top1: '70%'"),
        ("mobilenet_v2,a,,,70,,,own,here", "9 cells for 10 columns"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number(tmp_path, line, message):
    file = tmp_path / "table6.csv"
    file.write_text(f"# a note\n{HEAD}resnet50,b,2.0G,,75.6,,,,own,here\n{line}\n")
    with pytest.raises(TableError, match=message) as caught:
        read(file)
    assert "table6.csv, line 4" in str(caught.value)


def test_a_file_of_other_columns_is_refused(tmp_path):
    file = tmp_path / "table6.csv"
    file.write_text("network,top1\nresnet50,75.6\n")
    with pytest.raises(TableError, match=r"columns must be network, method.*found network, top1"):
        read(file)


def copied(folder: Path, name: str, add: str) -> Path:
    """All files of the book's folder, one of them with lines added."""
    shutil.copytree(FOLDER, folder, dirs_exist_ok=True)
    with (folder / name).open("a") as file:
        file.write(add)
    return folder


def test_rows_added_to_a_table_of_the_paper_are_read_checked_and_shown(tmp_path, paper):
    """What a reader who has the paper does; these numbers are made up."""
    lines = (
        "mobilenet_v2,BCNetV2,150M,2.64M,99.1,,50%,released-mbv2-150m-min5,paper,Table 6\n"
        "efficientnet_b0,BCNetV2,0.386G,5.3M,77.54,,,,paper,Table 6\n"
    )
    filled = read_folder(copied(tmp_path, "table6.csv", lines))
    before, after = ({t.name: len(t.rows) for t in p.tables} for p in (paper, filled))
    assert after == before | {"table6": before["table6"] + 2}
    (shown,) = (r for r in pages.at_hand(filled).rows if r[0].text == "Table 6")
    assert shown[1].text == f"{after['table6']} rows"
    table = checks.front(filled.of("mobilenet_v2"), filled.widths)
    assert "BCNetV2" in set(table[table.front].method)
    assert "99.1" in str(pages.results_table("", filled, "mobilenet_v2"))
    found = {c.name: [f.what for f in c.findings] for c in checks.all_checks(filled)}
    # 148.9 MACs do not round to 150M; the abstract says 77.53 and the made-up table 77.54
    assert any("BCNetV2: MACs" in w for w in found["MACs and parameters recounted"])
    assert any("BCNetV2 and BCNetV2: top-1" in w for w in found["the same row printed twice"])


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("table6.csv", "mobilenet_v2,a,,,70,,,w-none,own,here\n", "'w-none' are not in widths"),
        (
            "table6.csv",
            "resnet50,a,,,70,,,autoslim-mbv2-305m,own,here\n",
            "those of 'mobilenet_v2', not of 'resnet50'",
        ),
        ("widths.csv", "w,resnet50,1G,20,1 21,,here\n", "not within 1..20"),
        ("widths.csv", "w,resnet50,1G,,1 2,3 4,here\n", "2 layers for 2 widths"),
        ("widths.csv", "autoslim-mbv2-305m,resnet50,1G,,1 2,,here\n", "is there already"),
        ("widths.csv", "w,resnet50,1G,,1 two,,here\n", "column values"),
        ("prose.csv", "resnet50,a,,speed,,1.0,here\n", "metric 'speed'"),
    ],
)
def test_files_that_contradict_each_other_are_refused(tmp_path, name, line, message):
    with pytest.raises(TableError, match=message):
        read_folder(copied(tmp_path, name, line))


def test_every_table_has_its_file_and_every_number_its_place(paper):
    assert [t.name for t in paper.tables] == [*(f"table{n}" for n in TABLES), "elsewhere"]
    assert all(row.place and row.source for row in paper.rows)
    used = {row.widths for row in paper.rows}
    assert {name for name in paper.widths if not name.endswith("-as-searched")} <= used
    readme = (FOLDER / "README.md").read_text()
    for file in FOLDER.glob("*.csv"):
        assert f"`{file.name}`" in readme, f"README.md does not describe {file.name}"


def test_a_table_file_knows_its_frame(paper):
    frame = paper.frame()
    assert len(frame) == len(paper.rows) and frame.macs.dtype == float
    one = frame[(frame.method == "AutoSlim") & (frame.network == "resnet50")]
    assert sorted(one.macs) == [570, 1000, 2000, 3000]
    assert Table("empty", ()).frame().empty


# ---------------------------------------------------------------------------- the files


def test_what_can_be_added_up_again_in_the_book_s_files_is(paper):
    """Every check compares something; the findings are those that the page discusses."""
    elsewhere = dataclasses.replace(
        paper, tables=paper.tables[-1:]
    )  # tables may be filled in later
    found = {check.name: check for check in checks.all_checks(elsewhere)}
    nothing = {name for name, check in found.items() if not check.compared}
    assert len(found) == 7 and nothing <= {"the same row printed twice"}
    for name in ("reductions added up again", "sentences against rows"):
        assert not found[name].findings
    assert not found["the same number implied by two places"].findings
    wrong = {f.what for f in found["MACs and parameters recounted"].findings}
    assert all("MMRazor" in what or "EagleEye" in what for what in wrong)
    assert "differ" in str(found["MACs and parameters recounted"])


def test_a_command_names_what_the_command_line_knows():
    text = checks.command("efficientnet_b0", number("386M"))
    assert "--model efficientnet_b0 --data imagenet --macs 3.86e8 --times 1.5" in text
    assert "--times" not in checks.command("vgg19_cifar", number("77M"))
    with pytest.raises(TableError, match="unknown network"):
        checks.command("mine", number("77M"))
    main = pytest.importorskip("bcnet_lib.__main__")
    for name in NETWORKS:
        options = checks.command(name, number("1M")).split()[4:]
        main.parser().parse_args(["run", *options])


# ---------------------------------------------------------------------------- pages


def test_every_row_says_what_was_verified(paper):
    table = pages.results_table("A", paper, "mobilenet_v2")
    costs = {(row[0].text, row[1].text): row[-1].text for row in table.rows}
    assert costs["AutoSlim", "305M"] == "recounted"
    assert costs["AutoSlim (MMRazor)", "0.32G"] == "differs"
    assert costs["DMCP", "300M"] == "as printed"
    assert costs["released, 150M, smallest width 5", ""] == "counted"
    assert set(costs.values()) == set(pages.VERIFIED)
    two = pages.results_table("B", paper, "resnet18", "resnet34")
    assert two.head[0] == "network" and {row[0].text for row in two.rows} == {
        "resnet18",
        "resnet34",
    }


def test_every_open_row_has_a_command(paper):
    rows = [r for r in paper.rows if r.open and r.source in ("authors", "not at hand")]
    closed = pages.open_rows(paper, *NETWORKS)
    assert len(closed) == len(rows) > 0
    named = {words.split()[-1] for _, words in closed if "paper_retrain" in words}
    assert named <= set(paper.widths)
    assert any("--model vgg19_cifar --data cifar10 --macs 7.7e7" in c for _, c in closed)


def test_tables_of_findings_and_networks(paper):
    bad = checks.costs([row(macs="305M", widths="original")], {})
    text = str(pages.findings_table("Differences", [bad]))
    assert "305M" in text and "300.77M" in text and "here" in text
    text = str(pages.networks_table("vgg19_cifar", "proxylessnas_mobile"))
    assert "vgg19_cifar" in text and "3x32x32" in text
    text = str(pages.released_table(paper, "released-mbv2-"))
    assert "105.8 %" in text and "188.3 %" in text


def test_figures_say_what_they_show(paper):
    table = checks.front(paper.of("resnet50"), paper.widths)
    figure = pareto(table, "ResNet-50", "billion")
    assert f"{len(table)} printed results" in figure.alt and "EagleEye" in figure.alt
    both = [("w", "a", 74.2, "own"), ("w", "b", 72.7, "rerun"), ("v", "a", 70.0, "own")]
    figure = same_widths(pd.DataFrame(both, columns=["widths", "method", "top1", "source"]))
    assert "w 72.7 to 74.2 %" in figure.alt and "v 70.0 to 70.0 %" in figure.alt
