"""The benchmark explorer counts as NumPy does, refuses wrong files, hands on no data of others."""

import itertools
import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bcnet_lib import needs

BOOK = Path(__file__).parents[1] / "book"
TABLE = BOOK / "_assets" / "bench_table.js"
K, L = 4, 7
C = np.array(list(itertools.product(range(1, K + 1), repeat=L)))  # (16384, 7)


@pytest.fixture
def ext(monkeypatch):
    monkeypatch.syspath_prepend(BOOK / "_ext")
    import bench_explorer

    yield bench_explorer
    sys.modules.pop("bench_explorer", None)


def in_node(expression: str, given: str = ""):
    """Value of a JavaScript expression over the table module ``t`` and the text ``given``."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed: the explorer's arithmetic was not compared")
    code = (
        f"const t = require({json.dumps(str(TABLE))});"
        "const given = require('fs').readFileSync(0, 'utf8');"
        f"console.log(JSON.stringify({expression}))"
    )
    done = subprocess.run(["node", "-e", code], input=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def released(seed: int = 0) -> dict:
    """A made-up file in the format of the released ones, its keys in random order."""
    rng = np.random.default_rng(seed)
    acc = rng.integers(8900, 9200, (len(C), 3)) / 100
    macs = 1000 * C.sum(axis=1) + C[:, 0]
    return {
        "".join(map(str, C[i])): {
            "acc": acc[i].tolist(),
            "flops": int(macs[i]),
            "params": int(i) + 1,
        }
        for i in rng.permutation(len(C))
    }


def parse(text: str, full=(28004, 16384)) -> str:
    return f"t.parseReleased({text}, 'MobileNet', {L}, {K}, {list(full)})"


def test_rows_and_widths_are_in_the_order_of_the_library_s_table():
    rows = in_node(f"Array.from({{length: {K**L}}}, (_, i) => t.widths(i, {L}, {K}))")
    assert np.array_equal(rows, C)
    assert in_node(f"{C[::97].tolist()}.map((c) => t.rowOf(c, {K}))") == list(range(0, K**L, 97))


def test_a_released_file_becomes_the_table():
    file = released()
    table = in_node(f"t.unpack({parse('given')}, {L}, {K})", json.dumps(file))
    keys = ["".join(map(str, c)) for c in C]
    acc = np.array([file[key]["acc"] for key in keys])
    assert np.allclose(list(table["mean"].values()), acc.mean(axis=1), atol=1e-9)
    assert table["macs"] == [file[key]["flops"] for key in keys]
    assert table["params"] == list(range(1, K**L + 1))


@pytest.mark.parametrize("name", ["mobilenet", "resnet"])
def test_the_authors_files_are_accepted_and_the_site_s_copy_says_the_same(ext, name, tmp_path):
    if unmet := needs.missing(["channel_bench_macro"]):
        pytest.skip(unmet[0].say())
    app = SimpleNamespace(
        outdir=tmp_path,
        builder=SimpleNamespace(format="html"),
        config=SimpleNamespace(bench_data=True),
    )
    ext.write_data(app, None)
    script = (tmp_path / ext.FOLDER / f"{name}.js").read_text()
    copy = json.loads(script.partition(f".{name} = ")[2].rstrip(";\n"))
    assert copy == in_node(parse("given", ext.network(name)[1]), ext.locate(name).read_text())


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda d: "{", "it is not whole JSON"),
        (lambda d: json.dumps([1, 2]), "it has 0 entries instead of 16384"),
        (lambda d: json.dumps(dict(list(d.items())[:9])), "it has 9 entries instead of 16384"),
        (lambda d: json.dumps({"5" + k[1:]: v for k, v in d.items()}), "entries instead of"),
        (lambda d: json.dumps({k.replace("1234321", "123432"): v for k, v in d.items()}),
         '"123432" is not 7 widths from 1 to 4'),
        (lambda d: json.dumps(d | {"1111111": {"acc": [1, 2], "flops": 1, "params": 1}}),
         "entry 1111111 lacks three accuracies, flops or params"),
        (lambda d: json.dumps(d | {"4444444": d["1111111"]}), "perhaps it is the file of"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_the_reason(break_it, said):
    attempt = f"(() => {{ try {{ {parse('given')}; }} catch (e) {{ return e.message; }} }})()"
    message = in_node(attempt, break_it(released()))
    assert message.startswith("This is no result file of the MobileNet space") and said in message


def test_filters_keep_the_networks_whose_widths_are_all_on():
    rng = np.random.default_rng(1)
    for on in (np.ones((L, K), bool), rng.random((L, K)) < 0.6, np.arange(K) == np.zeros((L, 1))):
        shown = in_node(f"Array.from(t.select({json.dumps(on.tolist())}, {L}, {K}))")
        assert np.array_equal(shown, on[np.arange(L), C - 1].all(axis=1))


def test_the_front_is_what_nothing_shown_beats():
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 40, 300), rng.integers(0, 40, 300)  # with many ties
    shown = rng.random(300) < 0.5
    rows = in_node(f"t.front({x.tolist()}, {y.tolist()}, {shown.astype(int).tolist()})")
    beaten = [
        (shown & (x <= x[i]) & (y >= y[i]) & ((x < x[i]) | (y > y[i]))).any() for i in range(300)
    ]
    free = {(x[i], y[i]) for i in range(300) if shown[i] and not beaten[i]}
    assert {(x[i], y[i]) for i in rows} == free and len(rows) == len(free)
    assert all(np.diff(x[rows]) > 0) and all(np.diff(y[rows]) > 0)


def test_packed_data_keeps_the_numbers(ext):
    acc = np.array([[90.62, 91.19], [89.0, 100.0]])
    bench = SimpleNamespace(accuracies=acc, macs=np.array([5, 7]), params=np.array([1, 2]))
    packed = json.dumps(ext.pack(bench))
    table = in_node(f"t.unpack({packed}, 1, 2)")
    assert np.allclose(list(table["mean"].values()), acc.mean(axis=1))
    assert table["macs"] == [5, 7] and table["params"] == [1, 2]


def test_our_own_benchmark_is_in_the_page(ext, monkeypatch):
    from bcnet_lib.bench import ChannelBench
    from bcnet_lib.digits_bench import DigitsSetting

    setting = DigitsSetting()
    widths = setting.widths()  # (1024, 5)
    accuracies = np.random.default_rng(3).uniform(80, 100, (len(widths), 3))
    cost = setting.cost()
    toy = SimpleNamespace(
        space=setting.space(), accuracies=accuracies, macs=cost.macs(widths),
        params=cost.params(widths),
    )  # fmt: skip
    monkeypatch.setattr(ChannelBench, "load", lambda name: toy)
    html = ext.digits(fallback="", assets=False)
    channels = json.loads(unescape(re.search(r'data-channels="([^"]*)"', html)[1]))
    assert np.shape(channels) == (5, 4) and channels[0][-1] == setting.channels[0]
    data = re.search(r'<script type="application/json">(.*?)</script>', html)[1]
    table = in_node("t.unpack(JSON.parse(given), 5, 4)", data)
    assert np.allclose(list(table["mean"].values()), accuracies.mean(axis=1), atol=1e-3)
    assert table["macs"] == cost.macs(widths).tolist()


def test_the_page_fetches_nothing_by_itself(ext):
    """The only address is the authors' file, behind a button."""
    html = ext.page_parts("resnet", [[1, 2]], "See <below>.", assets=True, url="https://a.b/c")
    assert "<p>See &lt;below&gt;.</p>" in html
    assert re.findall(r"https?://[^\"']*", html) == ["https://a.b/c"]
    assert html.count("fetch(") == 1 and 'button.addEventListener("click"' in html
    assert not re.search(r"@import|\bimport\b|<script src|url\(", html)
    assert "<style>" not in ext.page_parts("resnet", [[1, 2]], "", assets=False)


def test_no_released_number_is_in_a_page_of_channel_bench_macro(ext):
    channels, full = ext.network("mobilenet")
    assert channels[0] == [32, 64, 96, 128] and len(channels) == L and full[0] == 211_281_920
    html = ext.page_parts("mobilenet", channels, "", assets=True, full=json.dumps(full))
    assert "application/json" not in html.split("<script>")[0]


def test_data_is_left_out_of_sites_for_others(ext, monkeypatch):
    monkeypatch.setattr(ext.needs, "missing", lambda names: [])
    for value, expected in (("", True), ("0", True), ("1", False)):
        monkeypatch.setenv("BCNET_PUBLISH", value)
        config = SimpleNamespace()
        ext.choose(None, config)
        assert config.bench_data is expected
    monkeypatch.setattr(ext.needs, "missing", lambda names: names)
    monkeypatch.delenv("BCNET_PUBLISH")
    ext.choose(None, config)
    assert config.bench_data is False


def test_data_of_an_earlier_build_is_taken_away(ext, tmp_path):
    (tmp_path / ext.FOLDER).mkdir()
    (tmp_path / ext.FOLDER / "resnet.js").write_text("old")
    app = SimpleNamespace(
        outdir=tmp_path,
        builder=SimpleNamespace(format="html"),
        config=SimpleNamespace(bench_data=False),
    )
    ext.write_data(app, None)
    assert not (tmp_path / ext.FOLDER).exists()


def test_every_control_has_a_name_and_changes_are_announced():
    script = (BOOK / "_assets" / "bench_explorer.js").read_text(encoding="utf-8")
    assert script.count('"aria-live": "polite"') == 2 and "aria-pressed" in script
    assert "ArrowRight" in script and "tabindex: 0" in script
