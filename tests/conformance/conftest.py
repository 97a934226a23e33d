"""Says at the end of the run how much of other people's files was compared."""

from __future__ import annotations

from _pytest.terminal import TerminalReporter

from tests.conformance.lava_dl_files import TALLIES


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Files, layers, steps and spikes compared, and mismatches."""
    if any(tally.files for tally in TALLIES.values()):
        terminalreporter.section("networks that others trained")
        for what, tally in TALLIES.items():
            terminalreporter.write_line(f"{what}: {tally}")
