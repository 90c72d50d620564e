"""Chapters that need data of others, or a GPU: run where it is, left alone visibly where not."""

import hashlib
import importlib.util
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from bcnet_lib import DataError, bench_files, needs, released_scores

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
NEED = needs.NEEDS["channel_bench_macro"]


def module(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """A data folder with nothing in it; files that hold "{}" are the released ones."""
    digest = hashlib.sha256(b"{}").hexdigest()
    for files in (bench_files.FILES, released_scores.FILES):
        for key, (file, _) in files.items():
            monkeypatch.setitem(files, key, (file, digest))
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("BCNET_DATA", str(folder))
    monkeypatch.setenv("HOME", str(tmp_path))  # the other place to look is below it
    return folder


def fill(folder: Path) -> None:
    for file in NEED.files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text("{}")


@pytest.fixture
def book(tmp_path):
    """A book of one chapter, whose stored output could not come from its cell."""
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "conf.py").write_text("")
    cell = new_code_cell("print(6 * 7)", execution_count=1)
    cell.outputs = [new_output("stream", name="stdout", text="stored with the chapter\n")]
    notebook = new_notebook(cells=[new_markdown_cell("# Chapter\n\nText."), cell])
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "bcnet": {"needs": [NEED.name]},
    }
    nbformat.write(notebook, folder / "chapter.ipynb")
    return folder


def test_a_need_is_met_when_all_its_files_are_there(empty):
    assert needs.missing([NEED.name]) == [NEED]
    fill(empty)
    assert needs.missing([NEED.name]) == []
    (empty / NEED.files[-1]).unlink()
    assert needs.missing([NEED.name]) == [NEED]


def test_the_cache_folder_is_the_second_place_to_look(empty, tmp_path):
    fill(tmp_path / ".cache" / "bcnet")
    assert needs.missing([NEED.name]) == []
    assert needs.missing([NEED.name], root=empty) == [NEED]


def test_what_is_missing_is_named_with_the_place_and_the_command(empty):
    says = NEED.say()
    assert NEED.name in says and str(empty) in says and "python -m bcnet_lib.needs" in says
    with pytest.raises(DataError, match="unknown need 'imagnet': known are channel_bench_macro"):
        needs.missing(["imagnet"])


def test_the_command_gets_what_is_missing_and_keeps_what_is_there(empty, monkeypatch, capsys):
    asked = []

    def fetch(url, path, sha256, timeout=60.0):
        asked.append(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        return path

    for place in (needs, bench_files):
        monkeypatch.setattr(place, "fetch", fetch)
    released = needs.NEEDS["bcnet_released"]
    kept, damaged = empty / released.files[0], empty / released.files[1]
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    damaged.write_text("{")
    assert needs.main([]) == 0
    assert needs.missing(["channel_bench_macro", "bcnet_released"]) == []
    assert len(asked) == len(NEED.files + released.files) - 1
    assert damaged.read_text() == "{}" and not any(kept.name in url for url in asked)
    assert all(url.startswith("https://raw.githubusercontent.com/xiusu/") for url in asked)
    assert len(capsys.readouterr().out.splitlines()) == len(NEED.files + released.files)


def test_the_command_says_why_it_failed(empty, monkeypatch, capsys):
    def fetch(*args, **kwargs):
        raise DataError("no network")

    monkeypatch.setattr(needs, "fetch", fetch)
    for names, said in ((["bcnet_released"], "no network"), (["cuda"], "cannot be downloaded"),
                        (["imagnet"], "unknown need 'imagnet'")):  # fmt: skip
        assert needs.main(names) == 1
        assert said in capsys.readouterr().err


def test_a_damaged_file_is_kept_until_the_new_one_is_whole(empty, monkeypatch, capsys):
    damaged = empty / needs.NEEDS["bcnet_released"].files[0]
    damaged.parent.mkdir(parents=True)
    damaged.write_text("mine")

    def urlopen(url, timeout):
        raise OSError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    assert needs.main(["bcnet_released"]) == 1
    assert "no route to host" in capsys.readouterr().err and damaged.read_text() == "mine"


def test_a_damaged_file_meets_no_need_and_is_named(empty, tmp_path):
    fill(empty)
    damaged = empty / NEED.files[1]
    damaged.write_text("")
    assert needs.missing([NEED.name]) == [NEED]
    assert f"damaged: {damaged}: python -m bcnet_lib.needs" in NEED.say()
    fill(tmp_path / ".cache" / "bcnet")
    assert needs.missing([NEED.name]) == [], "the intact file in the second place"
    assert bench_files.locate("resnet") == tmp_path / ".cache" / "bcnet" / NEED.files[1]


def test_a_gpu_is_a_need_too(monkeypatch):
    import torch

    for there in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert needs.missing(["cuda"]) == ([] if there else [needs.NEEDS["cuda"]])


def test_a_relative_data_folder_means_the_same_to_kernels_in_other_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCNET_DATA", "data")
    needs.absolute_root()
    monkeypatch.chdir("/")
    assert needs.NEEDS[NEED.name].say().count(str(tmp_path / "data")) == 1


def test_places_looked_into_are_named_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BCNET_DATA", "data")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(DataError, match=f"looked for '{tmp_path}/data/channel_bench_macro/"):
        bench_files.locate("resnet")


def test_notebooks_say_what_they_need(book):
    chapter = book / "chapter.ipynb"
    assert needs.of_notebook(chapter) == [NEED.name]
    assert needs.of_notebook(BOOK / "claims.ipynb") == []
    chapter.write_text(json.dumps({"metadata": {"bcnet": {"needs": NEED.name}}}))
    with pytest.raises(DataError, match="must be a list of names, got 'channel_bench_macro'"):
        needs.of_notebook(chapter)


@pytest.mark.parametrize("path", sorted(BOOK.rglob("*.ipynb")), ids=lambda p: p.stem)
def test_every_chapter_names_needs_that_are_known(path):
    needs.missing(needs.of_notebook(path))


def test_skipped_cells_say_why(empty, book):
    marks = []
    item = SimpleNamespace(path=book / "chapter.ipynb", add_marker=marks.append)
    hook = module(ROOT / "conftest.py").pytest_collection_modifyitems
    hook([item, item])
    assert [mark.kwargs["reason"] for mark in marks] == [NEED.say()] * 2
    fill(empty)
    hook([item])
    assert len(marks) == 2


def test_make_notebooks_leaves_a_chapter_without_its_data_alone(empty, book, monkeypatch, capsys):
    script = module(BOOK / "_ext" / "run_chapters.py")
    monkeypatch.setattr(script, "BOOK", book)
    before = (book / "chapter.ipynb").read_bytes()
    assert script.main([]) == 0
    assert capsys.readouterr().out == (
        f"LEFT ALONE chapter.ipynb, stored outputs kept: {NEED.say()}\n"
    )
    assert (book / "chapter.ipynb").read_bytes() == before


def test_make_notebooks_keeps_what_a_chapter_needs(empty, book, monkeypatch):
    script = module(BOOK / "_ext" / "run_chapters.py")
    monkeypatch.setattr(script, "BOOK", book)
    fill(empty)
    assert script.main([]) == 0
    assert needs.of_notebook(book / "chapter.ipynb") == [NEED.name]
    assert '"42\\n"' in (book / "chapter.ipynb").read_text()


def test_the_cache_is_another_one_when_data_comes_is_damaged_or_goes(empty):
    key = module(BOOK / "_ext" / "follow_library.py").cache_key
    without = key()
    fill(empty)
    with_data = key()
    (empty / NEED.files[0]).write_text("[]")
    assert without != with_data and key() == without
    (empty / NEED.files[0]).unlink()
    assert key() == without


def test_a_build_without_the_data_shows_stored_outputs_and_says_so(empty, book, tmp_path):
    """And the next one, with the data, runs the chapter; the third is as the first."""
    first = build(book, tmp_path)
    assert "stored with the chapter" in first and "42" not in first
    text = re.sub(r"<[^>]+>", "", first)
    assert "Stored outputs" in text and "python -m bcnet_lib.needs channel_bench_macro" in text
    fill(empty)
    second = build(book, tmp_path)
    assert "42" in second and "stored with the chapter" not in second
    assert "Stored outputs" not in second
    (empty / NEED.files[0]).unlink()
    assert build(book, tmp_path) == first


def build(book: Path, out: Path) -> str:
    """The page of the chapter, built on top of what is in ``out``, warnings as errors."""
    sys.path.insert(0, str(BOOK / "_ext"))
    settings = {
        "extensions": ["myst_nb", "stored_outputs"],
        "root_doc": "chapter",
        "nb_execution_mode": "cache",
        "nb_execution_cache_path": str(out / "cache"),
        "nb_execution_raise_on_error": True,
        "html_theme": "basic",
    }
    folders = (str(book), str(book), str(out / "html"), str(out / "doctrees"))
    try:
        with docutils_namespace():
            quiet = {"warningiserror": True, "status": None, "warning": None}
            Sphinx(*folders, "html", confoverrides=settings, **quiet).build()
    finally:
        sys.path.pop(0)
    page = (out / "html" / "chapter.html").read_text(encoding="utf-8")
    return page.partition('<div class="body"')[2].partition("</section>")[0]
