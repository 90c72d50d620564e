"""Works by torchrun until it is ended: one process waits for the other, which sleeps."""

import os
import sys
import time
from pathlib import Path

from bcnet_lib import distributed

if __name__ == "__main__":
    with distributed.joined():
        rank = distributed.place()[0]
        Path(sys.argv[1], f"{rank}.pid").write_text(str(os.getpid()))
        if rank == 1:
            time.sleep(1000)
        distributed.wait()
