"""Says at the end of the run how much was compared."""

from __future__ import annotations

from _pytest.terminal import TerminalReporter

from tests.equality.agreement import TALLIES


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Spikes compared per backend, and how often each feature, wrap and saturation was met."""
    if TALLIES:
        terminalreporter.section("equality with the interpreter")
        for tally in TALLIES.values():
            for line in tally.lines():
                terminalreporter.write_line(line)
