"""Write generated traffic recordings as GEN1 pairs: python -m training.make_recordings recordings/ --count 8"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from netx_export.command_line import exit_code
from netx_export.errors import ConfigError
from training.recordings import generate_recording, write_recording

EXAMPLES = """
example:
  python -m training.make_recordings recordings/ --count 8 --seconds 10
  python run_lava.py --data recordings/                   then: run the shipped detector on them, scored
  python train.py --data recordings/ --out runs/mine      or train on them

Each recording is three files: <name>_td.dat (events, Prophesee DAT 2), <name>_bbox.npy (boxes in GEN1's layout) and
<name>_times.npy (annotated moments in us, with and without boxes). The same seed gives the same bytes.
"""


def main(arguments: list[str] | None = None) -> int:
    """Parse, generate, write, print."""
    parser = argparse.ArgumentParser(
        prog="python -m training.make_recordings",
        description="Write generated traffic scenes of an event camera (304x240) as GEN1 pairs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the recordings go")
    parser.add_argument("--count", type=int, default=4, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first; each next has the next (default: 0)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each (default: %(default)s)")
    parser.add_argument("--annotation-hz", type=float, default=4.0, help="annotated moments a second (default: 4)")
    options = parser.parse_args(arguments)
    if options.count < 1:
        raise ConfigError(f"--count is {options.count}; write at least 1 recording")
    events = boxes = 0
    for seed in tqdm(range(options.seed, options.seed + options.count), desc="recordings", unit="recording"):
        made = generate_recording(seed, duration_s=options.seconds, annotation_hz=options.annotation_hz)
        write_recording(options.folder, f"traffic_{seed:06d}", made)
        events, boxes = events + made.events.size, boxes + made.boxes.size
    print(f"{options.count} recordings in {options.folder}: {events:,} events, {boxes:,} boxes")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
