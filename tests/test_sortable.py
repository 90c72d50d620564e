"""Tables that readers sort: the order of rows, the HTML, the text."""

import json
import shutil
import subprocess

import pytest

from bcnet_lib.sortable import SCRIPT, Cell, SortableTable


def ordered(keys, up):
    if shutil.which("node") is None:
        pytest.skip("node is not installed: sorting by the page's script was not tried")
    call = f"{SCRIPT}\nconsole.log(JSON.stringify(module.exports.order({json.dumps(keys)}, {up})))"
    done = subprocess.run(["node", "-e", call], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [keys[i] for i in json.loads(done.stdout)]


def test_rows_are_sorted_by_numbers_or_words_with_empty_ones_last():
    assert ordered(["10", "9", "", "100"], "true") == ["9", "10", "100", ""]
    assert ordered(["10", "9", "", "100"], "false") == ["100", "10", "9", ""]
    assert ordered(["b", "", "a 10", "a 9"], "true") == ["a 10", "a 9", "b", ""]


def test_a_sortable_table_is_html_with_a_button_a_column_and_text_elsewhere():
    table = SortableTable(
        "T", ["a", "b"], [[Cell("x<y"), Cell("1G", 1e9, True)], [Cell(""), Cell("2")]]
    )
    page = table._repr_html_()
    assert page.count("<button") == 2 and '<table class="bcnet sortable">' in page
    assert 'data-key="1000000000.0" class="num">1G<' in page and "x&lt;y" in page
    assert repr(table).splitlines() == ["T", "a    b", "x<y  1G", "–    2"]
    with pytest.raises(ValueError, match="1 cells for the 2 columns"):
        SortableTable("T", ["a", "b"], [[Cell("x")]])
