"""Who may import whom (DESIGN: rooms), read from the sources and proved in fresh processes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("netx_export", "training", "lava_runtime", "hw_profiles")

TORCH_MODULES = {
    "netx_export/slayer/states.py",
    "netx_export/slayer/tracer.py",
    "netx_export/tracer.py",
    "netx_export/tracer_arguments.py",
    "netx_export/tracer_example.py",
    "netx_export/tracer_layers.py",
    "netx_export/tracer_neurons.py",
    "netx_export/tracer_ops.py",
}
LAVA_MODULES = {
    "lava_runtime/lava/processes.py",
    "lava_runtime/lava/network_process.py",
    "lava_runtime/lava/neuron_models.py",
    "lava_runtime/lava/project_models.py",
    "lava_runtime/lava/synapse_models.py",
    "lava_runtime/simulation/assembly.py",
    "lava_runtime/lava_backend.py",
    "lava_runtime/simulation/run_config.py",
    "lava_runtime/simulation/runner.py",
    "lava_runtime/loihi_backend.py",
    "training/slayer/networks.py",
}
DASK_MODULE = "lava_runtime/cluster.py"
TORCH_FREE_TRAINING = {
    "training/event_decoders.py",
    "training/event_pieces.py",
    "training/window_jobs.py",
    "training/window_results.py",
    "training/event_files.py",
    "training/recordings.py",
    "training/windows.py",
    "training/detection.py",
    "training/config.py",
    "training/checkpoints/__init__.py",
    "training/sources.py",
    "training/coco_files.py",
    "training/scoring.py",
}
# What a package may import from the others.
ALLOWED = {
    "netx_export": (),
    "training": (
        "netx_export.graph",
        "netx_export.errors",
        "netx_export.files",
        "netx_export.command_line",
        # SLAYER's scales and states are known in one place.
        "netx_export.slayer.numbers",
        "netx_export.slayer.states",
    ),
    "lava_runtime": ("netx_export.graph", "netx_export.errors", "netx_export.files", "netx_export.command_line"),
    "hw_profiles": (
        "netx_export.graph",
        "netx_export.errors",
        "netx_export.files",
        "lava_runtime.trace",
        "lava_runtime.divergence",
    ),
}
SPECIAL_MODULES = sorted(TORCH_MODULES | LAVA_MODULES | TORCH_FREE_TRAINING | {DASK_MODULE})
SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("place", SPECIAL_MODULES)
def test_the_lists_name_modules_that_exist(place: str) -> None:
    assert (ROOT / place).is_file()


def imported_modules(path: Path) -> list[str]:
    """Every module named in an import statement of `path`, at any depth."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(), filename=str(path))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_packages_import_only_what_their_room_allows(path: Path) -> None:
    place = path.relative_to(ROOT).as_posix()
    package = place.split("/")[0]
    for module in imported_modules(path):
        top = module.split(".")[0]
        if top in PACKAGES and top != package:
            assert any(module == home or module.startswith(home + ".") for home in ALLOWED[package]), (
                f"{place} imports {module}; {package} may import {ALLOWED[package]} only"
            )
        if top in ("torch", "torchvision"):
            allowed = place in TORCH_MODULES or (package == "training" and place not in TORCH_FREE_TRAINING)
            assert allowed, f"{place} imports {module}: no torch in this room"
        if top == "lava":
            assert place in LAVA_MODULES, f"{place} imports {module}: only the Lava modules import lava"
        if top in ("dask", "distributed"):
            assert place == DASK_MODULE, f"{place} imports {module}: only the cluster runner imports dask"


@pytest.mark.parametrize(
    "modules",
    [
        ("netx_export", "netx_export.netx.reader", "netx_export.netx.writer"),
        ("lava_runtime", "lava_runtime.fast_backend", "lava_runtime.streaming", "lava_runtime.cluster"),
        ("hw_profiles", "hw_profiles.report"),
        (
            "training.event_files",
            "training.recordings",
            "training.windows",
            "training.detection",
            "training.config",
            "training.checkpoints",
            "training.sources",
            "training.coco_files",
            "training.scoring",
            "training.window_jobs",
            "training.window_results",
        ),
    ],
    ids=lambda modules: modules[0],
)
def test_deployment_needs_neither_torch_nor_lava(modules: tuple[str, ...]) -> None:
    program = (
        f"import sys, {', '.join(modules)}\n"
        "print([name for name in ('torch', 'torchvision', 'lava', 'distributed') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_packages_import_quickly_and_lightly() -> None:
    program = (
        "import sys, netx_export, lava_runtime, hw_profiles, training\n"
        "print([name for name in ('torch', 'lava', 'numba', 'matplotlib') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
