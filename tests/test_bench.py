"""`make bench` runs and prints every row that was promised."""

import bench


def test_the_bench_prints_one_table_with_every_number(capsys):
    assert bench.main(["--quick"]) == 0
    text = capsys.readouterr().out
    for part in (
        *("step, path / alone: squeezenet1_0, width 25%", "width 50%", "width 100%", "<= 1.05"),
        *("overhead per forward", "MACs of 1,000 widths", "discovery: squeezenet1_0"),
        *("Eq. 22, one path a batch", "Eq. 10, one after another", "Eq. 10, at once"),
        *("Eq. 11, one after another", "Eq. 11, at once", "widths/s"),
        *("shared prefixes, all 16,384: 6.9x fewer MACs", "shared prefixes, 2,048 at random: 3"),
        *("latency error, sum of layers: digits_cnn", "line through sums", "line through MACs"),
        *("prior, certified: squeezenet1_0", "prior, released recipe", "gap", "<= 2 s"),
    ):
        assert part in text


def test_one_after_another_needs_the_memory_of_one_path(capsys):
    bench.Bench(quick=True).memory("squeezenet1_0")
    rows = capsys.readouterr().out.splitlines()
    saved = {row.split("activations, ")[1].split("  ")[0]: float(row.split()[-2]) for row in rows}
    one = saved["Eq. 22, one path a batch"]
    assert saved["Eq. 10, one after another"] == saved["Eq. 11, one after another"] == one
    assert saved["Eq. 10, at once"] > 1.8 * one
    assert saved["Eq. 11, at once"] > 3.6 * one
