"""Settings for all tests and chapters; made before torch is imported, inherited by kernels."""

import os

# As in the Makefile: results that do not depend on the number of cores, outputs without progress
# bars.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
