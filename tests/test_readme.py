"""The README keeps its promises: its example runs as printed, its picture is there."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_example_runs_as_printed(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr
    channels, macs, accuracy = re.fullmatch(r"\[(.*)\] (\d+) (\S+)\n", run.stdout).groups()
    assert [int(n) for n in channels.split()] and int(macs) > 0
    assert 0.1 < float(accuracy) <= 1  # better than guessing among ten classes


def test_files_it_points_to_exist():
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    local = [target for target in targets if not target.startswith("http")]
    assert local
    for target in local:
        assert (ROOT / target).exists(), f"README points to {target}"
