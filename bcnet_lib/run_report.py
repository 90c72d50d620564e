"""What a run found, as a record with one row a training, and in words."""

from .distributed import processes
from .intervals import headline, mean_interval, paired_difference
from .results import Measured, Record
from .search.budget import amount
from .task import Task

__all__ = ["make_report", "summary"]


def make_report(
    task: Task, found: dict, trained: list[dict], seconds: dict, took: Measured, device: str
) -> Record:
    """The record of a run.

    Args:
        found: widths by name, score, evaluations, passes of the supernet.
        trained: for each training: name, k, val and test accuracy in [0, 1], passes.
        seconds: of each stage, over all calls.
    """
    rows = []
    for row in trained:
        c = found["widths"].get(row["name"])
        counted = task.count(c)
        rows.append(
            {
                "seed": row["k"],
                "name": row["name"],
                "macs": counted["macs"],
                "params": counted["params"],
                "val": round(100 * row["val"], 4),
                "test": round(100 * row["test"], 4),
                "passes": row["passes"],
                "widths": "" if c is None else " ".join(map(str, c)),
                "channels": " ".join(map(str, counted["channels"])),
            }
        )
    settings = task.settings
    parameters = settings.to_dict() | {
        "images": task.data.describe(),
        "processes": processes(),
        "budget_macs": float(task.budget),
        "own_macs": task.own_macs,
        "width_factor": task.factor,
        "groups": [g.name for g in task.space.groups],
        "search": {k: found[k] for k in ("score", "evaluations", "passes")},
        "stage_seconds": {k: round(v, 1) for k, v in seconds.items()},
    }
    what = f"test accuracy (%) of {settings.model} at widths found within {amount(task.budget)}"
    return Record.new(
        headline(f"{what}, {settings.data}", _of(rows, "found", "test")),
        rows,
        experiment="run",
        profile=settings.data,
        parameters=parameters,
        measured=took,
        device=device,
    )


def summary(record: Record) -> str:
    """A line for each name: MACs, parameters, accuracies, and what the found width has on it."""
    names = list(dict.fromkeys(r["name"] for r in record.rows))
    found = _of(record.rows, "found", "test")
    lines = [record.headline]
    for name in names:
        row = next(r for r in record.rows if r["name"] == name)
        test = _of(record.rows, name, "test")
        line = f"  {name:8} {amount(row['macs']):>14} {amount(row['params'], 'params'):>20}"
        line += f"   test {mean_interval(test)} %"
        if name != "found" and len(test) == len(found):  # the same seeds: a paired difference
            line += f"   found minus this {paired_difference(found, test)}"
        lines.append(line)
    return "\n".join(lines)


def _of(rows: list[dict], name: str, field: str) -> list[float]:
    return [r[field] for r in rows if r["name"] == name]
