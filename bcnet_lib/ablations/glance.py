"""All ablations side by side: claims with what each record found, settings with what they took."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from ..claims import Comparison, Ledger, PaperVsOurs
from ..digits_bench import DigitsSetting
from ..results import Record
from . import EXPERIMENTS
from .chapter import command, records
from .findings import Finding
from .verdicts import all_findings, compared

__all__ = [
    "claims_table",
    "findings",
    "ledger_claims",
    "missing_records",
    "profiles_table",
    "settings_table",
]

ROOT = "../../figures"
IMAGES = {"cifar10": 50_000, "imagenet": 1_281_167}
"""Training images of what may not be here, for ``epochs``."""
SETTINGS = ("network", "data", "batch_size", "lr", "passes", "steps", "budget")


def ledger_claims(ledger: Ledger) -> list:
    """The claims that records decide, in the order of the paper."""
    return [claim for claim in ledger.claims if claim.experiment]


def claims_table(ledger: Ledger, root: str | Path = ROOT) -> PaperVsOurs:
    """A row for every claim and record: paper, ours with interval, seeds, profile, verdict."""
    rows: list[Comparison] = []
    for claim in ledger_claims(ledger):
        rows += compared(claim, root)
    return PaperVsOurs(rows, "The ablations at a glance")


def findings(root: str | Path = ROOT) -> list[Finding]:
    """Every finding of every record, in the order of experiments and profiles."""
    return [finding for _, found in all_findings(root) for finding in found]


def profiles_table(root: str | Path = ROOT, names: Iterable[str] | None = None) -> pd.DataFrame:
    """One row an experiment and profile: settings, and what its record took on which machine.

    Columns beside the settings: epochs, how often a supernet of one pass a step sees each image at
    equal passes; what the experiment varies; seeds of the record, else of the profile; core minutes
    and device, empty where there is no record.
    """
    rows = []
    for name in names or EXPERIMENTS:
        experiment = EXPERIMENTS[name]
        there = records(experiment, root)
        for profile_name, profile in experiment.profiles.items():
            record = there.get(profile_name)
            row = {"experiment": name, "profile": profile_name}
            row |= {s: getattr(profile, s) for s in SETTINGS}
            row["epochs"] = round(_epochs(profile))
            row["varies"] = " ".join(map(str, profile.values))
            row["seeds"] = len(record.parameters["seeds"]) if record else profile.seeds
            rows.append(row | _took(record))
    return pd.DataFrame(rows)


def settings_table(table: pd.DataFrame) -> pd.DataFrame:
    """``profiles_table`` by settings: experiments that share them stand in one row."""
    by = ["profile", *SETTINGS, "epochs"]
    rows = [
        dict(zip(by, key, strict=True)) | {"experiments": ", ".join(part.experiment)}
        for key, part in table.groupby(by, sort=False)
    ]
    return pd.DataFrame(rows)


def _epochs(profile) -> float:
    if profile.data == "digits":
        images = len(DigitsSetting().data().train)
    else:
        images = IMAGES[profile.data] * (1 - profile.val)
    return profile.passes * profile.batch_size / images


def _took(record: Record | None) -> dict[str, str]:
    if record is None:
        return {"core minutes": "", "on": ""}
    seconds = record.parameters["core_seconds"]
    return {"core minutes": f"{seconds / 60:.0f}", "on": record.device}


def missing_records(root: str | Path = ROOT) -> pd.DataFrame:
    """What is open: experiments and profiles without a record, and the command for each."""
    rows = [
        {"experiment": name, "profile": profile, "command": command(experiment, profile)}
        for name, experiment in EXPERIMENTS.items()
        for profile in experiment.profiles
        if profile != "smoke" and profile not in records(experiment, root)
    ]
    return pd.DataFrame(rows, columns=["experiment", "profile", "command"])
