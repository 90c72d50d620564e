"""Claims about the book: its sources, how it follows the library, and the built site if there."""

import importlib.util
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
SITE = ROOT / "_build" / "html"

built = pytest.mark.skipif(not (SITE / "intro.html").exists(), reason="needs `make book`")


def sources() -> dict[str, str]:
    """Text of every page of the book (a notebook's cells without their outputs), by its path."""
    pages = {}
    for path in sorted(BOOK.rglob("*")):
        name = path.relative_to(BOOK).as_posix()
        if path.suffix not in {".md", ".ipynb"} or re.search(r"(^|/)[._]|^data/", name):
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
        pages[name] = text
    return pages


def in_contents() -> list[str]:
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
    parts = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *parts]


def test_every_page_is_in_the_table_of_contents_once():
    names = [re.sub(r"\.(md|ipynb)$", "", name) for name in sources()]
    assert sorted(in_contents()) == sorted(names)


def test_every_citation_is_in_the_bibliography():
    keys = set(re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(), re.M))
    for name, text in sources().items():
        cited = {
            key.strip()
            for group in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text)
            for key in group.split(",")
        }
        assert cited <= keys, f"{name} cites what references.bib does not hold"


def test_every_glued_number_is_made_on_its_page():
    for name, text in sources().items():
        used = set(re.findall(r"\{glue(?::\w+)?\}`([^`:]+)(?::[^`]*)?`", text))
        used |= set(re.findall(r"^(?:```|:::)\{glue(?::\w+)?\} (\S+)", text, re.M))
        made = re.findall(r"\bglue\(\s*(?:(['\"])([^'\"]+)\1|(\S))", text)
        if any(computed for _, _, computed in made):
            continue  # a loop makes the names; the strict build checks those
        assert used <= {key for _, key, _ in made}, f"{name} uses numbers that no cell glues"


def test_labels_are_unique():
    seen: dict[str, str] = {}
    for name, text in sources().items():
        labels = re.findall(r"^\(([\w:-]+)\)=\s*$", text, re.M)
        labels += re.findall(r"\$\$\s*\(([\w:-]+)\)\s*$", text, re.M)
        labels += re.findall(r"^:(?:name|label): (\S+)\s*$", text, re.M)
        for label in labels:
            assert label not in seen, f"label {label} is in {name} and in {seen[label]}"
            seen[label] = name


def test_pictures_in_the_text_have_alt_text():
    for name, text in sources().items():
        assert not re.findall(r"!\[\s*\]\([^)]+\)", text), f"{name}: a picture without alt text"


# The extension that runs chapters again.


@pytest.fixture
def build_extension():
    path = BOOK / "_ext" / "follow_library.py"
    spec = importlib.util.spec_from_file_location("follow_library", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path):
    """A project with a library, data and a chapter, to edit."""
    shutil.copytree(ROOT / "bcnet_lib", tmp_path / "bcnet_lib")
    (tmp_path / "book" / "data").mkdir(parents=True)
    (tmp_path / "book" / "data" / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "book" / "chapter.ipynb").write_text("{}")
    return tmp_path


def test_chapters_run_again_after_an_edit_of_the_library(build_extension, copy):
    before = build_extension.cache_key(copy)
    file = copy / "bcnet_lib" / "principles.py"
    file.write_text(file.read_text() + "\n# edited\n")
    assert build_extension.cache_key(copy) != before


def test_chapters_run_again_after_a_new_module_and_after_an_edit_of_data(build_extension, copy):
    before = build_extension.cache_key(copy)
    (copy / "bcnet_lib" / "new.py").write_text("")
    with_module = build_extension.cache_key(copy)
    (copy / "book" / "data" / "table.csv").write_text("a,b\n1,3\n")
    assert len({before, with_module, build_extension.cache_key(copy)}) == 3


def test_an_unchanged_library_keeps_the_cache(build_extension, copy):
    """A chapter's own cells are in jupyter-cache's key, so they must not be in ours."""
    before = build_extension.cache_key(copy)
    (copy / "book" / "chapter.ipynb").write_text('{"cells": []}')
    (copy / "bcnet_lib" / "__pycache__").mkdir(exist_ok=True)
    (copy / "bcnet_lib" / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert build_extension.cache_key(copy) == before


def test_all_of_the_book_s_data_counts(build_extension):
    named = {path.relative_to(ROOT).as_posix() for path in build_extension.inputs()}
    data = {p.relative_to(ROOT).as_posix() for p in (BOOK / "data").rglob("*.csv")}
    assert data <= named
    assert "bcnet_lib/principles.py" in named
    assert not any("_build" in name for name in named)


# The built site.


class Tags(HTMLParser):
    """Tags of a page that fetch something or show a picture, as (tag, attributes)."""

    def __init__(self, page: Path):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        if tag in {"script", "link", "img", "iframe", "source"}:
            self.found.append((tag, {key: value or "" for key, value in attrs}))


def pages() -> list[Path]:
    return [path for path in sorted(SITE.rglob("*.html")) if "_static" not in path.parts]


@built
def test_the_site_fetches_nothing_from_the_network():
    remote = re.compile(r"^(https?:)?//")
    for page in pages():
        for tag, attributes in Tags(page).found:
            if tag == "link" and attributes.get("rel") in {"canonical", "license"}:
                continue
            address = attributes.get("src") or attributes.get("href") or ""
            assert not remote.match(address), f"{page.name}: <{tag}> fetches {address}"


@built
def test_formulas_are_drawn_by_a_script_of_the_site():
    with_formulas = [p for p in pages() if 'class="math' in p.read_text(encoding="utf-8")]
    assert with_formulas
    for page in with_formulas:
        scripts = [a.get("src", "") for tag, a in Tags(page).found if tag == "script"]
        mathjax = [re.sub(r"\?.*", "", src) for src in scripts if "mathjax" in src]
        assert mathjax, f"{page.name} has formulas but no MathJax"
        assert all((page.parent / src).resolve().is_file() for src in mathjax)
    fonts = SITE / "_static" / "mathjax" / "output" / "chtml" / "fonts"
    assert list(fonts.rglob("*.woff"))


@built
def test_every_picture_of_the_site_has_alt_text():
    for page in pages():
        for tag, attributes in Tags(page).found:
            if tag == "img":
                alt = attributes.get("alt", "").strip()
                assert alt, f"{page.name}: {attributes.get('src')} has no alt text"
                assert not re.search(r"\.(png|svg|jpe?g)$", alt), f"{page.name}: alt text is {alt}"


@built
def test_links_between_pages_lead_somewhere():
    for page in pages():
        for target in re.findall(r'<a [^>]*href="([^"#?:]+\.html)', page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@built
def test_tables_of_the_library_are_numbered_through_the_book():
    found = []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        for caption in re.findall(r'<table class="bcnet">\s*<caption.*?</caption>', text, re.S):
            number = re.search(r'<span class="caption-number">Table (\d+) </span>', caption)
            assert number, f"{path.name}: {caption}"
            found.append(int(number[1]))
    assert found and len(set(found)) == len(found)  # pages have numbered tables of their own too
