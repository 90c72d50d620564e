"""The ``bench-explorer`` directive: all networks of a benchmark in one interactive figure.

Its style and scripts are written into the page. So is the data of our own benchmark on digits. The
accuracies of Channel-Bench-Macro have no licence to hand on: they are part of no page and of no
file of this project. Whoever builds the book with those files in the data folder finds a copy in
``bench-data/`` of the site, which the page loads as a script (so that it works from ``file://``);
``BCNET_PUBLISH=1`` leaves it out of sites that others will see. There a reader's own browser can
fetch the authors' file, or open one.
"""

import json
import os
import shutil
from functools import lru_cache
from html import escape
from pathlib import Path

import torch
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from bcnet_lib import CostTable, WidthSpace, models, needs
from bcnet_lib.bench_files import FILES, URL, locate, read

ASSETS = Path(__file__).parent.parent / "_assets"
PARTS = ("bench_explorer.css", "bench_table.js", "bench_explorer.js")
BENCHES = ("digits", "mobilenet", "resnet")
FOLDER = "bench-data"
COPY = (
    "Data: the authors' released file, from the data folder of whoever built this site. It has no "
    "licence to hand it on, so sites built for others leave it out."
)


def pack(bench, scale: int = 100) -> dict:
    """A table as the script wants it: rows in the library's order, accuracies as whole numbers.

    Args:
        bench: what has ``accuracies`` (n, runs) in percent, ``macs`` and ``params`` (n,).
        scale: parts of a percent kept: 100 where there are 10,000 test images.
    """
    return {
        "runs": bench.accuracies.shape[1],
        "scale": scale,
        "acc": (bench.accuracies * scale).round().astype(int).ravel().tolist(),
        "macs": list(map(int, bench.macs)),
        "params": list(map(int, bench.params)),
    }


@lru_cache
def network(name: str) -> tuple[list[list[int]], list[int]]:
    """Channels of each group at each width, (L, K), and MACs and parameters of the widest network.

    Of a Channel-Bench-Macro space; computed from our own model of it, so it needs no data.
    """
    model = {"mobilenet": models.macro_mobilenet, "resnet": models.macro_resnet}[name]()
    image = torch.zeros(1, 3, 32, 32)
    space = WidthSpace.from_model(model, image, K=4)
    cost = CostTable(model, space, image)
    return channels_of(space), [int(cost.macs(space.full)), int(cost.params(space.full))]


def channels_of(space: WidthSpace) -> list[list[int]]:
    """Channels of each group at each width, (L, K)."""
    rows = [space.channels([k] * len(space.groups)) for k in range(1, space.K + 1)]
    return [[int(row[g]) for row in rows] for g in range(len(space.groups))]


def page_parts(
    name: str,
    channels: list,
    fallback: str,
    *,
    assets: bool,
    data: dict | None = None,
    **attributes,
) -> str:
    """The HTML of one explorer.

    Args:
        name: of the benchmark. channels: (L, K). fallback: text for readers without JavaScript.
        assets: whether to put style and scripts around it. data: what ``pack`` gives, written into
        the page; None where the page loads it. attributes: further ``data-`` attributes.
    """
    attributes = {"bench": name, "channels": json.dumps(channels), **attributes}
    given = " ".join(f'data-{key}="{escape(value)}"' for key, value in attributes.items())
    inside = ""
    if data is not None:  # numbers only: nothing in it can end the element
        inside = (
            f'<script type="application/json">{json.dumps(data, separators=(",", ":"))}</script>'
        )
    box = (
        f'<div class="bench-explorer" role="group" aria-label="Explorer of the {name} benchmark" '
        f"{given}><p>{escape(fallback)}</p>{inside}</div>"
    )
    if not assets:
        return box
    style, *scripts = ((ASSETS / part).read_text(encoding="utf-8") for part in PARTS)
    return "\n".join(
        [f"<style>\n{style}</style>", box, *(f"<script>\n{script}</script>" for script in scripts)]
    )


class BenchExplorer(SphinxDirective):
    """```{bench-explorer}` with the option ``bench``: digits, mobilenet or resnet."""

    has_content = True
    option_spec = {"bench": lambda x: directives.choice(x, BENCHES)}

    def run(self) -> list[nodes.Node]:
        name = self.options.get("bench", "digits")
        for part in PARTS:
            self.env.note_dependency(str(ASSETS / part))  # a changed script rebuilds its pages
        fallback = " ".join(self.content) or "This figure needs JavaScript."
        done = self.env.temp_data.setdefault("bench_explorer", set())
        options = {"fallback": fallback, "assets": not done}
        done.add(name)
        html = digits(**options) if name == "digits" else self.released(name, **options)
        return [nodes.raw("", html, format="html")]

    def released(self, name: str, **options) -> str:
        channels, full = network(name)
        file = FILES[name][0]
        attributes = {"full": json.dumps(full), "file": file, "url": URL + file}
        if self.config.bench_data:
            up = "../" * self.env.docname.count("/")
            attributes |= {"src": f"{up}{FOLDER}/{name}.js", "from": COPY}
        return page_parts(name, channels, **options, **attributes)


def digits(**options) -> str:
    from bcnet_lib.bench import ChannelBench

    bench = ChannelBench.load("digits")
    said = {"from": "Data: Channel-Bench-Digits, our own; it comes with the library."}
    data = pack(bench, scale=1000)  # not whole hundredths of a percent
    return page_parts("digits", channels_of(bench.space), data=data, **options, **said)


def choose(app, config) -> None:
    """Decide before anything is read, so that pages are read again when the answer changes."""
    here = not needs.missing(["channel_bench_macro"])
    config.bench_data = here and os.environ.get("BCNET_PUBLISH", "") in ("", "0")


def write_data(app, exception) -> None:
    """Put the released data beside the pages, or take it away."""
    folder = Path(app.outdir) / FOLDER
    if exception or app.builder.format != "html":
        return
    if not app.config.bench_data:
        shutil.rmtree(folder, ignore_errors=True)
        return
    folder.mkdir(exist_ok=True)
    for name, (_, sha256) in FILES.items():
        data = json.dumps(pack(read(locate(name), sha256)), separators=(",", ":"))
        script = f"(window.BENCH_DATA = window.BENCH_DATA || {{}}).{name} = {data};\n"
        (folder / f"{name}.js").write_text(script, encoding="utf-8")


def setup(app) -> dict:
    app.add_config_value("bench_data", False, "env", types=[bool])
    app.add_directive("bench-explorer", BenchExplorer)
    app.connect("config-inited", choose)
    app.connect("build-finished", write_data)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
