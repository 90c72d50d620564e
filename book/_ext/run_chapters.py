"""Run every chapter in a fresh kernel and store its outputs (`make notebooks`).

    python book/_ext/run_chapters.py [chapter.ipynb ...]

A chapter that fails keeps its old outputs; the others are still run. One whose data is not here is
left alone, and its line says so.
"""

import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from bcnet_lib import needs

BOOK = Path(__file__).resolve().parents[1]


def chapters() -> list[Path]:
    """All notebooks of the book, without what builds leave behind."""
    found = BOOK.rglob("*.ipynb")
    return sorted(p for p in found if not {"_build", ".ipynb_checkpoints"} & set(p.parts))


def run(path: Path) -> None:
    """Execute one notebook in place; the file is replaced only when every cell ran."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    own = {key: notebook.metadata[key] for key in ("bcnet",) if key in notebook.metadata}
    notebook.metadata = own | {  # the rest is the editor's and the machine's
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    fresh = path.with_suffix(".ipynb.tmp")
    nbformat.write(notebook, fresh)
    os.replace(fresh, path)


def main(names: list[str]) -> int:
    failed = 0
    needs.absolute_root()
    for path in [Path(name).resolve() for name in names] or chapters():
        if unmet := needs.missing(needs.of_notebook(path)):
            says = "; ".join(need.say() for need in unmet)
            print(f"LEFT ALONE {path.relative_to(BOOK)}, stored outputs kept: {says}", flush=True)
            continue
        start = time.perf_counter()
        try:
            run(path)
        except CellExecutionError as error:
            failed += 1
            print(f"FAILED {path.relative_to(BOOK)}\n{error}", file=sys.stderr, flush=True)
        else:
            print(f"{time.perf_counter() - start:6.1f} s  {path.relative_to(BOOK)}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
