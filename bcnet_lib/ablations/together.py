"""One experiment after another on several devices, all of which compute each cell together.

For profiles whose networks are too large for one device::

    torchrun --nproc_per_node 8 -m bcnet_lib.ablations.together --profile paper --device cuda

A run that is stopped or killed goes on with the same command. Of several machines all must see the
folder of cells. ``python -m bcnet_lib.ablations`` with the same folder then finds all cells there,
and makes figures and pages.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from .. import distributed, needs
from . import EXPERIMENTS, chapter, driver
from .cells import Where
from .experiment import run

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute experiments of a profile, each cell by all processes of torchrun together."""
    parser = argparse.ArgumentParser(
        prog="torchrun -m bcnet_lib.ablations.together", description=main.__doc__
    )
    add = parser.add_argument
    add("--profile", default="paper", help="default: paper")
    add("--only", nargs="+", choices=EXPERIMENTS, help="default: all that have the profile")
    add("--seeds", type=int, help="how many, from 0; default: as the profile says")
    add("--minutes", type=float, help="stop cleanly after so many; run again to go on")
    add("--device", default="cpu", help="cpu (default), or cuda: one GPU a process")
    add(
        "--sync-batchnorm",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="train with BatchNorm over the images of all processes, not of each (default: all)",
    )
    add("--folder", type=Path, default=Path("_build/ablations/cells"), help="of finished cells")
    add("--out", type=Path, default=Path("figures"), help="folder of records")
    o = parser.parse_args(arguments)
    names = [n for n in o.only or EXPERIMENTS if o.profile in EXPERIMENTS[n].profiles]
    if not names or (o.only and len(names) < len(o.only)):
        parser.error(
            f"--profile {o.profile}: not all of {', '.join(o.only or EXPERIMENTS)} have it"
        )
    driver.check_options(parser, o, folder=o.folder, out=o.out)
    try:
        for name in names:  # known before the long work, not after it
            chapter.keep_larger(EXPERIMENTS[name], o.profile, o.out, o.seeds)
    except ValueError as error:
        parser.error(str(error))
    needs.absolute_root()
    until = None if o.minutes is None else time.time() + 60 * o.minutes
    with distributed.joined(o.device, sync_batchnorm=o.sync_batchnorm) as device:
        where = Where(folder=o.folder.absolute(), device=device, until=until)
        for name in names:
            record = run(EXPERIMENTS[name], o.profile, where, seeds=o.seeds, progress=True)
            if distributed.is_first():
                print(f"{name}: {_keep(record, o.out)}", flush=True)
            if record is None:
                return 1
    return 0


def _keep(record, out: Path) -> str:
    """Write a record; what came of it, in words."""
    if record is None:
        return "the time is up: the same command goes on"
    return f"{record.headline}\n{chapter.store(record, out)}: {out}"


if __name__ == "__main__":
    sys.exit(main())
