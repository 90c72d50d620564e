"""Claims about the stored chapters. What their cells compute is checked by `pytest --nbval`."""

import json
import re
import statistics
from pathlib import Path

import pytest

BOOK = Path(__file__).parents[1] / "book"
CHAPTERS = sorted(
    path
    for path in BOOK.rglob("*.ipynb")
    if not {"_build", ".ipynb_checkpoints"} & set(path.relative_to(BOOK).parts)
)
PICTURES = {"image/png", "image/svg+xml", "image/jpeg"}
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(home|root|tmp|work|Users|usr|opt|mnt)/|[A-Z]:\\\\?Users")

each_chapter = pytest.mark.parametrize(
    "path", CHAPTERS, ids=[path.relative_to(BOOK).as_posix() for path in CHAPTERS]
)


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(path: Path) -> list[dict]:
    cells = (cell for cell in read(path)["cells"] if cell["cell_type"] == "code")
    return [cell for cell in cells if "".join(cell["source"]).strip()]


def lines(cell: dict) -> int:
    return len("".join(cell["source"]).splitlines())


@each_chapter
def test_every_code_cell_has_run_once_in_order(path):
    counts = [cell["execution_count"] for cell in code_cells(path)]
    assert counts, "a chapter without code"
    assert counts == list(range(1, len(counts) + 1)), "store fresh outputs with `make notebooks`"


@each_chapter
def test_no_cell_failed(path):
    """A cell that is meant to fail says so by its tag, and shows the error to the reader."""
    failed = [
        "".join(cell["source"])
        for cell in code_cells(path)
        if any(output["output_type"] == "error" for output in cell["outputs"])
        and "raises-exception" not in cell["metadata"].get("tags", [])
    ]
    assert failed == []


@each_chapter
def test_a_numbered_equation_has_one_line(path):
    """Sphinx puts equations of several lines into an environment that refuses a tag."""
    cells = (cell for cell in read(path)["cells"] if cell["cell_type"] == "markdown")
    text = "\n\n".join("".join(cell["source"]) for cell in cells)
    equations = re.findall(r"\$\$(.*?)\$\$", text, re.DOTALL)
    assert [e for e in equations if r"\tag" in e and "\\\\" in e] == []


@each_chapter
def test_cells_are_short(path):
    lengths = [lines(cell) for cell in code_cells(path)]
    assert max(lengths) <= 40
    assert statistics.median(lengths) <= 8


@each_chapter
def test_no_cell_is_skipped_by_the_output_check(path):
    skipped = [
        "".join(cell["source"])
        for cell in code_cells(path)
        if "nbval-skip" in cell["metadata"].get("tags", []) or "# NBVAL_SKIP" in cell["source"]
    ]
    assert skipped == []


@each_chapter
def test_runs_in_any_environment(path):
    kernel = read(path)["metadata"]["kernelspec"]
    assert kernel["name"] == "python3"
    hits = [
        match.group()
        for cell in read(path)["cells"]
        for text in [json.dumps([cell["source"], cell.get("outputs", [])])]
        for match in MACHINE_PATH.finditer(re.sub(r'"image/png": "[^"]*"', "", text))
    ]
    assert hits == [], "a path of one machine is in the chapter"


@each_chapter
def test_every_picture_has_alt_text(path):
    """Figures of the library bring it along; others: {"mystnb": {"image": {"alt": "..."}}}."""
    silent = []
    for cell in code_cells(path):
        given = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        for output in cell["outputs"]:
            data = output.get("data", {})
            own = "".join(data.get("text/plain", "")).partition("Figure: ")[2]
            if PICTURES & data.keys() and len(given or own) < 20:
                silent.append("".join(cell["source"]))
    assert silent == []


def test_there_are_chapters():
    assert CHAPTERS, "no notebook under book/"
