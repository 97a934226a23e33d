"""Write the golden files of the present format version: python -m tests.golden.write_files"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import netx_export
from netx_export.graph import Graph
from tests.unit.netx.networks import branched, sequential

FOLDER = Path(__file__).resolve().parent
DIGESTS = FOLDER / "digests.json"
NETWORKS: dict[str, Callable[[], Graph]] = {"version1_netx.net": sequential, "version1_extended.net": branched}


def main() -> None:
    """Write the networks and the digests of all files, those of earlier versions included."""
    for name, make in NETWORKS.items():
        netx_export.write(make(), FOLDER / name)
    digests = {path.name: netx_export.read(path).digest for path in sorted(FOLDER.glob("*.net"))}
    DIGESTS.write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
