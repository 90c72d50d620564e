"""Made-up rows, widths and statements of the paper's tables."""

from pathlib import Path

from bcnet_lib.paper_tables import Printed, Row, Statement, Widths

FOLDER = Path(__file__).parents[1] / "book" / "data" / "paper"


def number(text):
    return None if text is None else Printed.parse(text, "KMG%")


def row(network="mobilenet_v2", method="a", source="own", place="here", widths="", **numbers):
    given = {name: number(text) for name, text in numbers.items()}
    about = {"network": network, "method": method, "source": source, "place": place}
    return Row(table="made", line=1, widths=widths, **about, **given)


def said(value, against="", method="a", macs=None, place="there", network="mobilenet_v2"):
    about = {"network": network, "method": method, "against": against, "place": place}
    return Statement(**about, macs=number(macs), metric="top1", value=number(value))


def widths(values, budget="150M", K=20, layers=(), name="w", network="mobilenet_v2"):
    about = {"name": name, "network": network, "place": "here"}
    return Widths(**about, budget=number(budget), K=K, values=tuple(values), layers=tuple(layers))
