"""The interactive explorer counts as the library does, and its page needs nothing else."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bcnet_lib import BC, UA, BCv2, Cyclic, plots

BOOK = Path(__file__).parent.parent / "book"
SCRIPT = BOOK / "_assets/explorer.js"
SAME = {
    "UA": UA(),
    "BC": BC(),
    "BCv2": BCv2(),
    "BCv2-paper": BCv2(overlap="paper"),
    "Cyclic": Cyclic(),
}
LARGEST = 20  # of the slider


def in_node(expression):
    if shutil.which("node") is None:
        pytest.skip("node is not installed: the explorer's arithmetic was not compared")
    code = (
        f"const x = require({json.dumps(str(SCRIPT))}); console.log(JSON.stringify({expression}))"
    )
    done = subprocess.run(["node", "-e", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", SAME)
def test_the_explorer_counts_and_slices_as_the_library_does(name):
    layers = [(l, b) for l in range(1, LARGEST + 1) for b in range(1, l + 1)]
    widths_of = "Array.from({length: l - b + 1}, (_, i) => b + i)"
    theirs = in_node(
        f"{json.dumps(layers)}.map(([l, b]) => ({{total: x.total('{name}', l, b), "
        f"card: x.cardinality('{name}', l, b), "
        f"paths: {widths_of}.map((c) => x.paths('{name}', c, l, b)), "
        f"rest: {widths_of}.map((c) => x.complement('{name}', c, l, b))}}))"
    )
    p = SAME[name]
    for (l, base), js in zip(layers, theirs, strict=True):
        widths = range(base, l + 1)
        assert js["total"] == p.total(l, base)
        assert js["card"] == p.cardinality(l, base).tolist()
        assert js["paths"] == [[list(w) for w in p.paths(c, l, base)] for c in widths]
        assert js["rest"] == [p.complement(c, l, base) for c in widths]


def test_the_explorer_has_the_figures_colours():
    colors = in_node("Object.entries(x.PRINCIPLES).map(([k, v]) => [k, v.color])")
    assert dict(colors) == {name: plots.color_of(p) for name, p in SAME.items()}


def page(**options):
    sys.path.insert(0, str(BOOK / "_ext"))
    try:
        from explorer import page_parts
    finally:
        sys.path.pop(0)
    given = {"principle": "BC", "l": 12, "base": 1, "fallback": "See <below>.", "assets": True}
    return page_parts(**given | options)


def test_the_page_holds_all_it_needs_and_fetches_nothing():
    html = page()
    assert 'data-principle="BC"' in html and "<p>See &lt;below&gt;.</p>" in html
    outside = re.sub(r'"http://www.w3.org/2000/svg"', "", html)  # a name, not an address
    assert not re.search(r"https?://|@import|\bimport\b|fetch\(|src=|url\(", outside)
    assert html.count("<script>") == html.count("</script>") == 1


def test_a_second_explorer_on_a_page_does_not_repeat_the_script():
    assert "<script>" not in page(assets=False) and "<style>" not in page(assets=False)


def test_every_control_has_a_name_and_changes_are_announced():
    script = SCRIPT.read_text(encoding="utf-8")
    assert script.count('"aria-live": "polite"') == 2 and '"aria-label", says' in script
