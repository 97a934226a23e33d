"""Write the golden files of the present format version: python -m tests.golden.write_files"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import netx_export
from netx_export.graph import Graph
from tests.unit.netx.networks import branched, chained, graded, sequential

FOLDER = Path(__file__).resolve().parent
DIGESTS = FOLDER / "digests.json"
NETWORKS: dict[str, Callable[[], Graph]] = {
    "version2_netx.net": sequential,
    "version2_extended.net": branched,
    "version2_graded.net": graded,
    "version2_sigma_delta.net": lambda: chained("sigma_delta"),
    "version2_recurrent.net": lambda: chained("recurrent"),
    "version2_delayed.net": lambda: chained("delayed"),
    "version2_resonant.net": lambda: chained("resonant"),
}
"""Files of the present version; those of earlier ones are kept as they were released."""


def main() -> None:
    """Write the networks and the digests of all files, those of earlier versions included."""
    for name, make in NETWORKS.items():
        netx_export.write(make(), FOLDER / name)
    digests = {path.name: netx_export.read(path).digest for path in sorted(FOLDER.glob("*.net"))}
    DIGESTS.write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
