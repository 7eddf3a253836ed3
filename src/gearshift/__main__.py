"""`python -m gearshift`: the command without its script on the path.

The guard matters: a fresh worker process may import this module again.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # `-m` puts the working directory first, where a `json.py` of the user's would be taken
    # for the real one; the command adds it once it has what it needs itself.
    if sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - text is what sys.path holds
        del sys.path[0]
    from gearshift.cli import main

    main(prog_name="gearshift")
