"""Settings for all tests and chapters; made before torch is imported, inherited by kernels."""

import os

# As in the Makefile: results that do not depend on the number of cores, outputs without progress
# bars.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import pytest  # noqa: E402

from bcnet_lib import needs  # noqa: E402

needs.absolute_root()


def pytest_collection_modifyitems(items) -> None:
    """Cells of a chapter whose data is not here are skipped, and the summary says why."""
    skips = {}
    for item in items:
        if item.path.suffix != ".ipynb":
            continue
        if item.path not in skips:
            unmet = needs.missing(needs.of_notebook(item.path))
            skips[item.path] = "; ".join(need.say() for need in unmet)
        if skips[item.path]:
            item.add_marker(pytest.mark.skip(reason=skips[item.path]))
