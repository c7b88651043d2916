"""`python -m patchmosaic VERB ...`, and so `torchrun --nproc-per-node=4 -m patchmosaic sample ...`."""

from __future__ import annotations

import os
import sys

from patchmosaic.cli.main import main

if __name__ == "__main__":
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and sys.argv[1:2] != ["sample"]:
        # The others would write the same files from every process.
        sys.exit("Error: of the verbs only sample runs as several processes." if os.environ["RANK"] == "0" else 1)
    main()
