"""Channel-Bench-Macro and Channel-Bench-Digits: loading, checks, queries, and clear errors.

Most of it runs on an invented file with the released structure; what speaks of the released files
is skipped, and says so, where they are not found.
"""

import hashlib
import itertools
import json
import urllib.request
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from bcnet_lib import CostTable, DataError, WidthError, WidthSpace, bench_files
from bcnet_lib.bench import BenchError, ChannelBench
from bcnet_lib.files import fetch
from bcnet_lib.models import macro_mobilenet
from bcnet_lib.ranking import noise_ceiling

WIDTHS = np.array(list(itertools.product(range(1, 5), repeat=7)))


@pytest.fixture(scope="module")
def rows():
    """A file's content, invented but for its MACs and parameters; keys in no order."""
    image = torch.empty(1, 3, 32, 32)
    model = macro_mobilenet()
    cost = CostTable(model, WidthSpace.from_model(model, image, K=4), image)
    rng = np.random.default_rng(0)
    acc = 90 + WIDTHS.sum(axis=1, keepdims=True) / 20 + rng.normal(0, 0.2, (4**7, 3))
    macs, params = cost.macs(WIDTHS), cost.params(WIDTHS)
    out = {}
    for i in rng.permutation(4**7):
        out["".join(map(str, WIDTHS[i]))] = {
            "acc": acc[i].tolist(),
            "std": acc[i].std(ddof=1),
            "flops": int(macs[i]),
            "params": int(params[i]),
            "mean": acc[i].mean(),
        }
    return out


def released(monkeypatch, root, content: bytes, name="mobilenet"):
    """Put content where the released file would lie, as if it were the released one."""
    file = bench_files.FILES[name][0]
    path = root / "channel_bench_macro" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(bench_files.FILES, name, (file, digest))
    return path


@pytest.fixture(scope="module")
def bench(rows, tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as monkeypatch:
        released(monkeypatch, root, json.dumps(rows).encode())
        return ChannelBench.load("mobilenet", root)


# ------------------------------------------------------------------ what a benchmark holds


def test_the_table_has_every_network_once_in_order(bench, rows):
    assert list(bench.table) == [
        *(f"c{i}" for i in range(1, 8)),
        *("acc0", "acc1", "acc2", "mean", "std", "macs", "params"),
    ]
    np.testing.assert_array_equal(bench.table[[f"c{i}" for i in range(1, 8)]], WIDTHS)
    for i in (0, 1, 777, 16_383):
        row, source = bench.table.iloc[i], rows["".join(map(str, WIDTHS[i]))]
        assert [row.acc0, row.acc1, row.acc2] == source["acc"]
        assert (row["mean"], row["std"]) == (source["mean"], source["std"])
        assert (row.macs, row.params) == (source["flops"], source["params"])
    assert (len(bench), bench.L, bench.K) == (16_384, 7, 4)


def test_index_and_accuracy_find_networks(bench):
    C = WIDTHS[[5, 0, 16_383, 901]]
    assert bench.index(C).tolist() == [5, 0, 16_383, 901]
    assert bench.index([4, 4, 3, 2, 2, 1, 4]) == WIDTHS.tolist().index([4, 4, 3, 2, 2, 1, 4])
    np.testing.assert_array_equal(bench.accuracy(C), bench.mean[[5, 0, 16_383, 901]])
    assert bench.accuracy([1] * 7) == bench.mean[0]


def test_networks_may_be_written_as_strings(bench):
    c = [4, 4, 3, 2, 2, 1, 4]
    assert bench.index("4432214") == bench.index(c)
    assert bench.accuracy("4432214") == bench.accuracy(c)
    assert bench.index(["4432214", "1111111"]).tolist() == [bench.index(c), 0]
    parameters = sum(p.numel() for p in bench.network("4432214").parameters())
    assert parameters == bench.params[bench.index(c)]
    for wrong in ("443221", "4432215", "net7", ["4", "4", "3", "2", "2", "1", "4"]):
        with pytest.raises(BenchError, match='is no network of .* write it like "4444444"'):
            bench.accuracy(wrong)


def test_space_and_networks_are_those_of_the_rows(bench):
    assert [g.width for g in bench.space.groups] == list(bench.maxima)
    assert bench.space.K == bench.K and bench.space.size == len(bench)
    for c in (WIDTHS[1234], None):
        net = bench.network(c)
        row = bench.index(np.full(7, 4) if c is None else c)
        assert sum(p.numel() for p in net.parameters()) == bench.params[row]
    assert bench.verify() is bench


def test_rows_whose_macs_are_not_the_network_s_are_named(bench):
    wrong = bench.macs.copy()
    wrong[bench.index([4, 4, 3, 2, 2, 1, 4])] += 1
    with pytest.raises(
        BenchError, match=r'network "4432214" .* has macs 122,923,009 .*122,923,008'
    ):
        replace(bench, macs=wrong).verify()


def test_arrays_cannot_be_written_to(bench):
    with pytest.raises(ValueError, match="read-only"):
        bench.mean[0] = 100.0


@pytest.mark.parametrize(
    ("c", "message"),
    [
        ([1, 2, 3, 4, 5, 1, 1], "width 5 of c5 is outside 1..4"),
        ([0, 2, 3, 4, 4, 1, 1], "width 0 of c1 is outside 1..4"),
        ([1, 2, 3], r"has 7 widths \(c1 … c7\), got shape \(3,\)"),
        ([1.0] * 7, "integer numbers of units"),
    ],
)
def test_widths_that_are_none_are_refused(bench, c, message):
    for query in (bench.index, bench.accuracy, bench.network):
        with pytest.raises(WidthError, match=message):
            query(c)
    with pytest.raises(WidthError, match="one width vector makes a network"):
        bench.network([[1] * 7])


def test_digits_comes_without_a_download(monkeypatch):
    from bcnet_lib import digits_bench

    setting = digits_bench.DigitsSetting()
    right = np.random.default_rng(0).integers(600, 800, (4**5, 3))
    table = digits_bench.DigitsBench(
        setting=setting,
        right=dict.fromkeys(digits_bench.KINDS, right),
        images={"test": 800, "val": 400},
        provenance={"headline": "invented"},
    )
    monkeypatch.setattr(digits_bench, "read", lambda: table)
    bench = ChannelBench.load("digits")
    assert (len(bench), bench.L, bench.K) == (1024, 5, 4)
    np.testing.assert_array_equal(bench.accuracies, right / 8)
    np.testing.assert_allclose(bench.std, (right / 8).std(axis=1, ddof=1))
    assert tuple(g.width for g in bench.space.groups) == setting.channels == bench.maxima
    assert (
        sum(p.numel() for p in bench.network([1, 2, 3, 4, 1]).parameters())
        == bench.params[bench.index([1, 2, 3, 4, 1])]
    )
    assert bench.verify().rank(bench.macs, bootstrap=0).n == 1024


def test_a_digits_table_that_is_missing_or_damaged_is_a_bench_error(tmp_path, monkeypatch):
    from bcnet_lib import digits_bench

    read = digits_bench.read
    monkeypatch.setattr(digits_bench, "read", lambda: read(tmp_path / "table.json"))
    with pytest.raises(BenchError, match=r"table.json' does not exist; .*make benchmark-digits"):
        ChannelBench.load("digits")
    (tmp_path / "table.json").write_text("{")
    with pytest.raises(BenchError, match=r"table.json' is not a whole table"):
        ChannelBench.load("digits")


# ------------------------------------------------------------------ files


def test_missing_data_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("BCNET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(DataError) as error:
        ChannelBench.load("resnet")
    for part in ("Results_ResNet.json", "BCNET_DATA", "download=True", str(tmp_path / "home")):
        assert part in str(error.value)


def test_the_cache_is_looked_into_after_bcnet_data(rows, tmp_path, monkeypatch):
    monkeypatch.setenv("BCNET_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    released(monkeypatch, tmp_path / "home/.cache/bcnet", json.dumps(rows).encode())
    assert len(ChannelBench.load("mobilenet")) == 16_384


def test_unknown_names_are_refused():
    with pytest.raises(BenchError, match="unknown benchmark 'vgg': known are 'mobilenet'"):
        ChannelBench.load("vgg")


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b.replace(b"90.", b"91.")]
)
def test_a_file_that_is_not_the_released_one_is_refused(rows, tmp_path, monkeypatch, damage):
    path = released(monkeypatch, tmp_path, json.dumps(rows).encode())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BenchError, match=r"is not the released file .* download=True"):
        ChannelBench.load("mobilenet", tmp_path)


def change(key, **fields):
    return lambda rows: rows | {key: rows[key] | fields}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda r: dict(list(r.items())[:-1]), "has 16,383 networks, not 16,384"),
        (lambda r: {**dict(list(r.items())[:-1]), "44444445": {}}, '"44444445" is no network'),
        (lambda r: {**dict(list(r.items())[:-1]), "0123456": {}}, '"0123456" is no network'),
        (lambda r: list(r), "holds a JSON list"),
        (change("4432214", acc=[90.0, 91.0]), "\"4432214\": 'acc' must be three numbers"),
        (change("4432214", acc=[90.0, 91.0, "x"]), "\"4432214\": 'acc' must be three numbers"),
        (change("4432214", acc=[90.0, 91.0, 101.0]), '"4432214": accuracies .* in 0..100'),
        (change("4432214", acc=[90.0, 91.0, float("nan")]), '"4432214": accuracies'),
        (change("4432214", mean=12.0), "\"4432214\": 'mean' is not the accuracies' mean"),
        (change("4432214", std=12.0), "\"4432214\": 'std' is not the accuracies' sample"),
        (change("4432214", flops=1.5), "\"4432214\": 'flops' must be a whole number"),
        (change("4432214", flops=True), "\"4432214\": 'flops' must be a whole number, got True"),
        (change("4432214", mean=True), "\"4432214\": 'mean' must be a number, got True"),
        (change("4432214", acc=[90.0, 91.0, True]), "\"4432214\": 'acc' must be three numbers"),
        (change("4432214", params=-3), "\"4432214\": 'params' must be positive"),
        (change("4432214", params=10**30), "'params' holds a number that is too large"),
        (lambda r: r | {"4432214": {"acc": [1, 2, 3]}}, "\"4432214\": 'mean' must be a number"),
        (lambda r: r | {"4432214": 3}, "\"4432214\": 'acc' must be three numbers, got None"),
    ],
)
def test_content_that_contradicts_itself_is_refused_and_named(rows, edit, message):
    with pytest.raises(BenchError, match=message):
        bench_files.parse(json.dumps(edit(rows)).encode())


def test_a_network_given_twice_is_named(rows):
    text = json.dumps(rows).replace('"1111111"', '"4432214"')
    with pytest.raises(BenchError, match='has network "4432214" more than once'):
        bench_files.parse(text.encode())


def test_what_is_no_json_is_refused():
    for content in (b'{"4432214": {"acc": [9', b"\xff\xfe", b"", b"[" * 100_000):
        with pytest.raises(BenchError, match="is not whole JSON"):
            bench_files.parse(content)


# ------------------------------------------------------------------ downloads


def serve(monkeypatch, content: bytes | Exception):
    asked = []

    class Answer:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def read(self):
            return content

    def urlopen(url, timeout):
        asked.append(url)
        if isinstance(content, Exception):
            raise content
        return Answer()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return asked


def test_a_download_is_kept_and_not_repeated(rows, tmp_path, monkeypatch):
    content = json.dumps(rows).encode()
    path = released(monkeypatch, tmp_path, content)
    path.unlink()
    asked = serve(monkeypatch, content)
    for _ in range(2):
        assert len(ChannelBench.load("mobilenet", tmp_path, download=True)) == 16_384
    assert len(asked) == 1 and asked[0].endswith("Channel-Bench-Macro/HEAD/Results_MobileNet.json")
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_damaged_file_is_replaced_by_a_download(rows, tmp_path, monkeypatch):
    content = json.dumps(rows).encode()
    path = released(monkeypatch, tmp_path, content)
    path.write_bytes(content[:100])
    serve(monkeypatch, content)
    ChannelBench.load("mobilenet", tmp_path, download=True)
    assert path.read_bytes() == content


@pytest.mark.parametrize("answer", [b"<html>404</html>", OSError("no route to host")])
def test_a_download_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, answer):
    serve(monkeypatch, answer)
    with pytest.raises(BenchError, match=r"Results_ResNet.json' by hand"):
        ChannelBench.load("resnet", tmp_path, download=True)
    assert list(tmp_path.rglob("*.json*")) == []


def test_a_failed_download_keeps_the_file_there_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    serve(monkeypatch, b"other")
    with pytest.raises(DataError, match="is not the file expected"):
        fetch("https://example.org/file", path, hashlib.sha256(b"new").hexdigest())
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


# ------------------------------------------------------------------ scores


def key(i):
    return "".join(map(str, WIDTHS[i]))


def test_scores_may_come_as_array_mapping_or_series(bench):
    order = np.random.default_rng(1).permutation(len(bench))
    several = [
        bench.macs,
        list(bench.macs),
        {key(i): bench.macs[i] for i in order},
        {int(key(i)): bench.macs[i] for i in order},
        {tuple(WIDTHS[i].tolist()): bench.macs[i] for i in order},
        pd.Series(bench.macs[order], index=[key(i) for i in order]),
    ]
    ranks = [bench.rank(scores, bootstrap=0) for scores in several]
    assert len({(r.kendall.value, r.spearman.value, r.regret[10], r.n) for r in ranks}) == 1
    assert ranks[0].n == 16_384


def test_columns_of_the_table_and_tensors_are_scores(bench):
    expected = bench.rank(bench.macs, bootstrap=0)
    tensor = torch.tensor(bench.macs, dtype=torch.float64, requires_grad=True)
    for scores in (bench.table["macs"], tensor):
        assert bench.rank(scores, bootstrap=0).kendall.value == expected.kendall.value
    table = bench.table  # a copy
    table.loc[:, "macs"] = 0
    assert (bench.table["macs"] == bench.macs).all()


def test_options_of_rank_are_checked(bench):
    for bootstrap in (-1, 2.5):
        with pytest.raises(BenchError, match=f"{bootstrap} bootstrap resamples: it must be an int"):
            bench.rank(bench.macs, bootstrap=bootstrap)
    assert list(bench.rank(bench.macs, top=5, bootstrap=0).overlap) == [5]
    with pytest.raises(BenchError, match="0 of 16,384 networks have a score: two or more"):
        bench.rank({}, missing="drop")
    with pytest.raises(BenchError, match=r"top 10 of 2 networks: .* such as top=\(1,\)"):
        bench.rank({key(0): 1.0, key(1): 2.0}, missing="drop")


@pytest.mark.parametrize("n", [2, 3, 4, 5, 12])
def test_a_few_networks_are_ranked_and_shown(bench, n):
    for seed in range(3):
        rows = np.random.default_rng(seed).choice(len(bench), n, replace=False)
        scores = {key(i): float(bench.macs[i]) for i in rows}
        ranking = bench.rank(scores, top=1, missing="drop", bootstrap=10)
        frame = ranking.to_frame()
        assert frame.loc["kendall", "macs"] == ranking.kendall.value
        assert "regret 1" in ranking._repr_html_()


def test_a_ceiling_or_baseline_that_is_none_is_nan(bench):
    flat = replace(bench, accuracies=bench.accuracies[:, :1].copy())  # one run
    frame = flat.rank(bench.macs, bootstrap=0).to_frame()
    assert frame["one_seed"].isna().all() and frame.loc["kendall", "macs"] > 0
    same = replace(bench, params=np.full(len(bench), 7))
    assert same.rank(bench.macs, bootstrap=0).to_frame()["params"].isna().all()


def test_missing_scores_are_an_error_or_dropped(bench):
    some = {key(i): float(i) for i in range(0, 16_384, 100)}
    with pytest.raises(BenchError, match='16,220 of 16,384 networks have no score .* "1111112"'):
        bench.rank(some)
    ranking = bench.rank(some, missing="drop", bootstrap=0)
    assert ranking.n == len(some) and (ranking.rows == np.arange(0, 16_384, 100)).all()
    holes = np.arange(16_384.0)
    holes[bench.index([4, 4, 3, 2, 2, 1, 4])] = np.nan
    with pytest.raises(BenchError, match=r'1 of 16,384 .* NaN, the first is "4432214"'):
        bench.rank(holes)
    assert bench.rank(holes, missing="drop", bootstrap=0).n == 16_383


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.zeros(3), r"must be 16,384 numbers, .* got shape \(3,\)"),
        (np.zeros((16_384, 2)), r"got shape \(16384, 2\)"),
        (np.full(16_384, "a"), "must be 16,384 numbers"),
        (np.ones(16_384), "cannot be ranked: the first list has 16384 equal values"),
        ({"4432215": 1.0}, "'4432215' is no network .*width 5 of c7 is outside 1..4"),
        ({"443221": 1.0}, r"'443221' is no network .*got shape \(6,\)"),
        ({"net7": 1.0}, "'net7' is no network .*it must be digits"),
        ({"4432214": 1.0, (4, 4, 3, 2, 2, 1, 4): 2.0}, '"4432214" has more than one score'),
        (pd.Series([1.0, 2.0], index=["4432214", "4432214"]), '"4432214" has more than one'),
        ({"4432214": "high"}, "score of network '4432214' is no number: 'high'"),
    ],
)
def test_scores_that_do_not_fit_are_refused_and_named(bench, scores, message):
    with pytest.raises(BenchError, match=message):
        bench.rank(scores)


def test_infinite_scores_tops_and_options_are_checked(bench):
    scores = np.arange(16_384.0)
    scores[0] = np.inf
    with pytest.raises(BenchError, match='score of network "1111111" is infinite'):
        bench.rank(scores)
    with pytest.raises(BenchError, match="top 10 of 2 networks"):
        bench.rank({"1111111": 1.0, "4444444": 2.0}, missing="drop")
    with pytest.raises(BenchError, match="missing='skip' must be 'error' or 'drop'"):
        bench.rank(scores, missing="skip")


def test_a_ranking_has_ceiling_and_baselines_of_its_own_networks(bench):
    rows = np.flatnonzero((WIDTHS > 1).all(axis=1))
    ranking = bench.rank({key(i): bench.macs[i] for i in rows}, missing="drop", bootstrap=50)
    frame = ranking.to_frame()
    assert ranking.n == 2187
    assert frame.loc["kendall", "macs"] == frame.loc["kendall", "value"] == ranking.kendall.value
    assert frame.loc["overlap 10", "macs"] == ranking.overlap[10]
    assert ranking.ceiling.n == 2187
    assert ranking.ceiling.one_seed == noise_ceiling(bench.accuracies[rows]).one_seed
    assert "2,187 networks of 'mobilenet'" in ranking._repr_html_()


# ------------------------------------------------------------------ the released files


@pytest.fixture(params=["mobilenet", "resnet"])
def real(request):
    try:
        return ChannelBench.load(request.param)
    except DataError as error:
        pytest.skip(str(error))


FACTS = {  # percent, against the mean of the runs; seed: Kendall of one seed against another
    "mobilenet": {"params": (60.4, 60.3, 42.6), "macs": (74.0, 74.2, 54.6), "seed": 0.61},
    "resnet": {"params": (66.9, 69.1, 50.9), "macs": (83.6, 85.7, 67.3), "seed": 0.56},
}


def test_released_rows_are_complete_and_their_costs_the_networks(real):
    np.testing.assert_array_equal(real.C, WIDTHS)
    real.verify()
    np.testing.assert_allclose(real.accuracies.mean(axis=1), real.mean, atol=1e-9)
    np.testing.assert_allclose(real.accuracies.std(axis=1, ddof=1), real.std, atol=1e-9)


def test_released_correlations_to_the_decimal(real):
    facts = FACTS[real.name]
    for what in ("params", "macs"):
        ranking = real.rank(getattr(real, what), bootstrap=0)
        found = [100 * getattr(ranking, n).value for n in ("pearson", "spearman", "kendall")]
        assert tuple(round(f, 1) for f in found) == facts[what]
    assert round(noise_ceiling(real.accuracies, draws=1).one_seed.kendall, 2) == facts["seed"]
