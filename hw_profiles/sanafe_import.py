"""SANA-FE's figures for a mapped network, as a second opinion beside ours.

SANA-FE runs in another Python, where it is installed; this project neither imports nor contains it. Its messages that
start in the host's inputs are taken out of its network energy, for our host is no part of the chip.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw_profiles.energy import Costing
from hw_profiles.profile import HardwareProfile
from hw_profiles.sanafe_export import Bound, SanafeError, SanafeFiles

_PROGRAM = """
import json, sys
import sanafe
arch, net, steps, host = sys.argv[1], sys.argv[2], int(sys.argv[3]), set(json.loads(sys.argv[4]))
architecture = sanafe.load_arch(arch)
chip = sanafe.SpikingChip(architecture)
chip.load(sanafe.load_net(net, architecture))
found = chip.sim(steps, message_trace=True, processing_threads=1)
traffic = {"host": [0, 0, 0], "chip": [0, 0, 0]}
for step in found["message_trace"]:
    for message in step:
        if message["placeholder"]:
            continue
        counted = traffic["host" if message["src_neuron_group_id"] in host else "chip"]
        counted[0] += 1
        counted[1] += abs(message["src_x"] - message["dest_x"])
        counted[2] += abs(message["src_y"] - message["dest_y"])
facts = {name: found[name] for name in ("energy", "sim_time", "spikes", "timesteps_executed")}
print("basalt:" + json.dumps({**facts, "traffic": traffic}))
"""

_MARK = "basalt:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Messages, and their hops east-west and north-south."""

    messages: int
    hops_ew: int
    hops_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOpinion:
    """SANA-FE's figures: energies in pJ, host messages taken out of `network`; time of all steps in ns.

    `synaptic_operations` counts synapses that spikes reached, the host's too.
    """

    steps: int
    synaptic_operations: int
    synapse: float
    network: float
    time: float
    chip: Traffic
    host: Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One term: our range and SANA-FE's figure, in `unit`."""

    term: str
    unit: str
    ours: tuple[float, float]
    theirs: float

    @property
    def agrees(self) -> bool:
        """True where their figure lies in our range, to a millionth."""
        low, high = self.ours
        return math.isclose(self.theirs, min(max(self.theirs, low), high), rel_tol=1e-6)


def run_sanafe(
    files: SanafeFiles,
    profile: HardwareProfile,
    python: str | os.PathLike[str],
    *,
    architecture: str | os.PathLike[str] | None = None,
    bound: Bound = "high",
    timeout: float = 600,
) -> SecondOpinion:
    """Simulate `files` with the SANA-FE that `python` has installed; `architecture` replaces the file we wrote.

    SanafeError where that Python or SANA-FE is missing, or where the simulation fails.
    """
    command = [
        os.fspath(python),
        "-c",
        _PROGRAM,
        os.fspath(files.architecture if architecture is None else architecture),
        os.fspath(files.network),
        str(files.steps),
        json.dumps(files.host),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except OSError as error:
        raise SanafeError(f"{python}: cannot be started ({error.strerror}); name the Python that has sanafe.") from None
    except subprocess.TimeoutExpired:
        raise SanafeError(f"{files.network}: SANA-FE took more than {timeout:g} s; use a smaller network.") from None
    lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise SanafeError(
            f"{files.network}: SANA-FE failed and said: {said}. Is it installed there ({python} -m pip install sanafe)?"
        )
    return _read(json.loads(lines[-1].removeprefix(_MARK)), profile, bound)


def _read(facts: dict[str, Any], profile: HardwareProfile, bound: Bound) -> SecondOpinion:
    chip, host = (
        Traffic(messages=counts[0], hops_ew=counts[1], hops_ns=counts[2])
        for counts in (facts["traffic"]["chip"], facts["traffic"]["host"])
    )
    prices = profile.costs.energy

    def cost(name: str) -> float:
        found = prices.get(name)
        return 0.0 if found is None else (found.low if bound == "low" else found.high)

    of_host = (
        host.messages * (cost("message_out") + cost("message_in"))
        + host.hops_ew * cost("hop_east_west")
        + host.hops_ns * cost("hop_north_south")
    )
    return SecondOpinion(
        steps=facts["timesteps_executed"],
        synaptic_operations=facts["spikes"],
        synapse=facts["energy"]["synapse"] * 1e12,
        network=facts["energy"]["network"] * 1e12 - of_host,
        time=facts["sim_time"] * 1e9,
        chip=chip,
        host=host,
    )


def compare(costing: Costing, opinion: SecondOpinion) -> tuple[Comparison, ...]:
    """Our terms beside SANA-FE's: synapse and network energy, synaptic operations, messages and hops."""
    lines = costing.estimates[0].lines

    def energy(terms: Sequence[str]) -> tuple[float, float]:
        chosen = [line for line in lines if any(line.term.startswith(term) for term in terms)]
        return (math.fsum(line.low for line in chosen), math.fsum(line.high for line in chosen))

    counters = costing.counters

    def counted(total: int) -> tuple[float, float]:
        return (float(total), float(total))

    network = ("message_out", "message_in", "hop_east_west", "hop_north_south")
    return (
        Comparison(term="synapse", unit="pJ", ours=energy(("synaptic_operation",)), theirs=opinion.synapse),
        Comparison(term="network", unit="pJ", ours=energy(network), theirs=opinion.network),
        Comparison(
            term="synaptic operations",
            unit="",
            ours=counted(int(counters.syn_ops.sum())),
            theirs=float(opinion.synaptic_operations),
        ),
        Comparison(
            term="messages", unit="", ours=counted(int(counters.axon_out.sum())), theirs=float(opinion.chip.messages)
        ),
        Comparison(
            term="hops east-west",
            unit="",
            ours=counted(int(counters.hops_ew.sum())),
            theirs=float(opinion.chip.hops_ew),
        ),
        Comparison(
            term="hops north-south",
            unit="",
            ours=counted(int(counters.hops_ns.sum())),
            theirs=float(opinion.chip.hops_ns),
        ),
    )


def read_public_architecture(python: str | os.PathLike[str]) -> Path:
    """The path of loihi.yaml in the SANA-FE that `python` has installed; SanafeError where there is none."""
    program = "import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec('sanafe').origin).parent)"
    try:
        done = subprocess.run([os.fspath(python), "-c", program], capture_output=True, text=True, check=False)
    except OSError as error:
        raise SanafeError(f"{python}: cannot be started ({error.strerror}); name the Python that has sanafe.") from None
    path = Path(done.stdout.strip()) / "examples" / "loihi.yaml"
    if done.returncode or not path.is_file():
        raise SanafeError(f"{python}: holds no SANA-FE with examples/loihi.yaml; {python} -m pip install sanafe.")
    return path
