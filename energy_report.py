"""Price a run on a chip: energy, time, cores and chips, as a table, a web page, JSON and CSV."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tqdm import tqdm

import hw_profiles
import netx_export
from hw_profiles.run_frames import frames_of_run
from lava_runtime.run_folder import FACTS, Run, load_run
from netx_export.command_line import exit_code
from netx_export.errors import ConfigError, DoesNotFitError, RunError
from netx_export.files import folder_obstacle

PROFILES = ("loihi1-fitted", "loihi1-davies2018", "loihi2", "algorithmic-45nm")

EXAMPLES = """
examples:
  python energy_report.py                                     the newest run, on every profile
  python energy_report.py runs/tiny-sim --profile loihi2      one run, one chip
  python energy_report.py runs/tiny-sim --profile mine.toml   a chip of your own: docs/chips.md
  python energy_report.py runs/pilot --measured pilotnet-lif  beside a published measurement, its error stated
  python energy_report.py --compare runs/a runs/b             runs, reports, chips side by side
  python energy_report.py --check my.net --profile loihi2     does it fit? layer by layer, what binds, what to change
  python energy_report.py --check my.net --profile mine.toml --json

Writes report.json, cores.csv, links.csv and report.html; of a run with rasters (run_lava.py --probe all) steps.csv and
core_steps.csv too. docs/reports.md explains them. What nobody published is listed as unpriced, never as zero.
Exit codes: 0 done, 2 a mistake in the input or a network that does not fit.
"""


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="energy_report.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", nargs="?", type=Path, help="a folder written by run_lava.py (default: the newest in runs/)"
    )
    parser.add_argument(
        "--profile",
        action="append",
        metavar="NAME|FILE",
        help=f"chip, may be repeated; known: {', '.join(hw_profiles.available())} (default: all of {', '.join(PROFILES)})",
    )
    parser.add_argument("--board", help="board of the chip, such as 'Hala Point' (default: the profile's own)")
    parser.add_argument("--out", type=Path, help="folder of the report (default: <run>/report)")
    parser.add_argument(
        "--measured",
        metavar="NAME|FILE",
        help="a measurement to put beside the estimate: pilotnet-lif, or a .json file",
    )
    parser.add_argument(
        "--compare",
        nargs="+",
        type=Path,
        metavar="RUN|REPORT",
        help="run folders or reports side by side, one table for each estimator (into --out, default runs/compare)",
    )
    parser.add_argument("--check", type=Path, metavar="NET", help="check whether a .net file fits, without a run")
    parser.add_argument("--json", action="store_true", help="print the check as JSON")
    parser.add_argument("--summary", action="store_true", help="print the first figures only, no tables")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Load the run, map, price, write, print."""
    options = parse(arguments)
    profiles = [hw_profiles.load(name, board=options.board) for name in options.profile or PROFILES]
    if options.out is not None and (obstacle := folder_obstacle(options.out)) is not None:
        raise ConfigError(f"{options.out}: cannot be a report folder, {obstacle}; choose another --out.")
    if options.check is not None:
        graph = netx_export.read(options.check)
        checks = [hw_profiles.check(graph, profile) for profile in profiles]
        if options.json:
            print(json.dumps([hw_profiles.check_to_json(found) for found in checks], indent=1))
        else:
            for found in checks:
                hw_profiles.print_check(found)
        return 0 if all(found.fits for found in checks) else DoesNotFitError.exit_code

    if options.compare is not None:
        return compare(options.compare, profiles, chosen=bool(options.profile), out=options.out or Path("runs/compare"))

    folder = options.run or newest_run(Path("runs"))
    measured = None if options.measured is None else hw_profiles.load_measurement(options.measured)
    reports = reports_of(folder, profiles, chosen=bool(options.profile), measured=measured)
    paths = hw_profiles.write_report(reports, options.out or folder / "report")
    if options.summary:
        hw_profiles.print_summary(reports)
    else:
        for report in reports:
            hw_profiles.print_report(report)
    print("\n".join(str(path) for path in paths))
    return 0


def reports_of(
    folder: Path,
    profiles: list[hw_profiles.HardwareProfile],
    *,
    chosen: bool,
    measured: hw_profiles.Measurement | None = None,
) -> list[hw_profiles.Report]:
    """The run of `folder` on every profile that it fits; DoesNotFitError where a `chosen` one is too small."""
    run = load_run(folder, read_network=netx_export.read)
    frames, scores = frames_of_run(folder), headline_scores(run, folder)
    reports = []
    for profile in tqdm(profiles, desc="pricing", leave=False, disable=None):
        try:
            mapping = hw_profiles.map(run.graph, profile)
        except DoesNotFitError as error:
            if chosen:
                raise
            # Nobody asked for this chip in particular: say so and go on to the next.
            print(f"left out: {error}")
            continue
        reports.append(
            hw_profiles.report(
                run.trace, mapping, profile, frames=frames, scores=scores, measured=measured, title=folder.name
            )
        )
    if not reports:
        raise DoesNotFitError(f"{folder}: the network fits none of {', '.join(PROFILES)}; see above what to change.")
    return reports


def compare(places: list[Path], profiles: list[hw_profiles.HardwareProfile], *, chosen: bool, out: Path) -> int:
    """Reports as they are, runs priced now; with `chosen` profiles only those."""
    wanted = {profile.name for profile in profiles}
    named: list[tuple[str, hw_profiles.Report]] = []
    for place in places:
        found = next(
            (path for path in (place, place / "report.json", place / "report/report.json") if path.is_file()), None
        )
        reports = reports_of(place, profiles, chosen=chosen) if found is None else hw_profiles.read_report(found)
        kept = [report for report in reports if not chosen or report.profile.name in wanted]
        if not kept and (place / FACTS).is_file():
            kept = reports_of(place, profiles, chosen=chosen)
        if not kept:
            raise RunError(
                f"{place}: has no report on {', '.join(sorted(wanted))}; give its run folder, or other profiles."
            )
        name = place.name if [other.name for other in places].count(place.name) == 1 else str(place)
        named += [(name, report) for report in kept]
    groups = hw_profiles.compare_reports(named)
    hw_profiles.print_comparison(groups)
    for path in hw_profiles.write_comparison(groups, out, hw_profiles.render_comparison(named)):
        print(path)
    return 0


def newest_run(runs: Path) -> Path:
    """The folder of the run that was finished last."""
    finished = sorted(runs.glob("**/run.json"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise RunError(f"{runs}/ holds no finished run; make one with: python run_lava.py --backend sim")
    return finished[-1].parent


def headline_scores(run: Run, folder: Path) -> dict[str, float]:
    """AP50 of every form of the network that the run scored, by name."""
    try:
        scores = {form: score["ap50"] for form, score in run.facts.get("scores", {}).items()}
        return {f"AP50 {form}": float(value) for form, value in scores.items() if value is not None}
    except (AttributeError, LookupError, TypeError, ValueError):
        raise RunError(f"{folder}: the scores in run.json cannot be read; run run_lava.py again.") from None


if __name__ == "__main__":
    sys.exit(exit_code(main))
