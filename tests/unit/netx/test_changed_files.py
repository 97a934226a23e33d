"""Our own files after somebody changed them: the reader names what is wrong and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import netx_export
from netx_export.errors import NetxError
from tests.unit.netx.networks import branched, edit, sequential


@pytest.fixture(params=[sequential, branched], ids=["netx", "extended"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    netx_export.write(request.param(), tmp_path / "x.net")
    return tmp_path / "x.net"


def refusal(path: Path) -> str:
    with pytest.raises(NetxError) as caught:
        netx_export.read(path)
    return str(caught.value)


def test_a_changed_file_fails_its_checksum(path: Path) -> None:
    edit(
        path,
        lambda file: file["basalt/kernels/0/mantissa"].write_direct(file["basalt/kernels/0/mantissa"][()] + 1),
        seal=False,
    )
    message = refusal(path)
    assert "/basalt: the checksum is" in message
    assert "damaged or changed after it was written" in message


def test_both_parts_must_tell_the_same(tmp_path: Path) -> None:
    path = tmp_path / "x.net"
    for name in ("layer/1/weight", "layer/1/neuron/vThMant", "simulation/tSample"):
        netx_export.write(sequential(), path)

        def more(file: h5py.File, name: str = name) -> None:
            file[name][...] = file[name][()] + 2

        edit(path, more, seal=False)
        assert "/layer and /basalt describe different networks" in refusal(path)
    netx_export.write(branched(), path)
    edit(path, lambda file: file["basalt"].attrs.__setitem__("form", "netx"))
    assert "claims the form 'netx', but it is not one chain of layers behind one input" in refusal(path)


def set_attribute(where: str, name: str, value: Any) -> Any:
    return lambda file: file[f"basalt/{where}"].attrs.__setitem__(name, value)


def drop_attribute(where: str, name: str) -> Any:
    return lambda file: file[f"basalt/{where}"].attrs.__delitem__(name)


def set_data(where: str, value: Any) -> Any:
    def change(file: h5py.File) -> None:
        del file[f"basalt/{where}"]
        if value is not None:
            file[f"basalt/{where}"] = value

    return change


CHANGES: list[tuple[Any, str]] = [
    (set_attribute("", "version", 3), "extension has version 3, this Basalt reads versions 1 to 2; update Basalt"),
    (set_attribute("", "version", 0), "extension has version 0, this Basalt reads versions 1 to 2; write the file again"),
    (set_attribute("", "version", 1), "unknown attribute 'messages' in version 1; write the file again"),
    (set_attribute("", "messages", "loud"), r"messages is 'loud', it must be one of \['binary', 'graded'\]"),
    (set_attribute("", "version", "one"), "attribute 'version' is 'one', it must be an integer"),
    (set_attribute("", "form", "loose"), r"form is 'loose', it must be one of \['netx', 'extended'\]"),
    (set_attribute("", "timing", "late"), "timing is 'late', it must be one of"),
    (set_attribute("", "steps", 0), "/basalt: Graph steps is 0; a sample has at least one time step"),
    (set_attribute("", "steps", 1 << 40), "'steps' is 1099511627776, it must be an integer of at most 32 bits"),
    (set_attribute("", "colour", 3), r"/basalt: unknown attribute 'colour'; known are .*not ignored; remove it"),
    (drop_attribute("", "timing"), "/basalt: the attribute 'timing' is missing; the file is incomplete"),
    (set_data("populations", None), "/basalt: the group 'populations' is missing"),
    (set_data("populations/1", None), r"/basalt/populations: entry '1' is missing among \['0', '2'"),
    (set_data("meta", None), "/basalt: the dataset 'meta' is missing"),
    (set_data("meta", 3), "'meta' must be one text"),
    (set_data("meta", b"{"), "'meta' is not JSON"),
    (set_data("meta", b"[" * 100000), "'meta' is not JSON"),
    (set_data("meta", b'{"seed": 3}'), "'meta' must be a JSON object of texts"),
    (set_attribute("populations/2", "kind", "Hopf"), "kind 'Hopf' is unknown to version 2 .* a newer Basalt may read it"),
    (set_attribute("populations/2", "kind", 4), "attribute 'kind' is 4, it must be a text"),
    (set_attribute("populations/2", "vth_mant", "low"), "'vth_mant' is 'low', it must be an integer"),
    (set_attribute("populations/2", "vth_mant", 131073), r"populations/2: Lif vth_mant is 131073, the limit is 0\.\.131072"),
    (set_attribute("populations/2", "unit", np.nan), "'unit' is nan, it must be a finite real number"),
    (set_attribute("populations/2", "unit", 3), "'unit' is 3, it must be a finite real number"),
    (set_attribute("populations/2", "id", "in"), "Two populations are called 'in'"),
    (set_attribute("populations/2", "id", ""), "A population has an empty id"),
    (set_attribute("populations/2", "shape", [4, 8]), r"'shape' is \[4, 8\], it must be 3 integers"),
    (set_attribute("populations/2", "shape", [4.0, 8.0, 8.0]), "attribute 'shape' is neither a number nor a text"),
    (set_attribute("populations/2", "shape", [1 << 20] * 3), "1152921504606846976 neurons, the limit is 2147483647"),
    (set_attribute("populations/2", "refractory", 1), "populations/2: unknown attribute 'refractory'"),
    (set_data("populations/2/bias_mant", None), "populations/2: the dataset 'bias_mant' is missing"),
    (set_data("populations/2/bias_mant", [1, 2]), r"bias has shape \(2,\), it must be \(4,\) or \(4, 8, 8\)"),
    (set_data("populations/2/bias_mant", [0.5]), "'bias_mant' holds the fraction 0.5"),
    (set_data("populations/2/bias_mant", [np.inf]), "'bias_mant' holds values that are not finite"),
    (set_data("populations/2/bias_mant", [b"zero"]), r"'bias_mant' holds the text \('zero',\), it must hold numbers"),
    (set_data("populations/2/bias_mant", [1 << 40]), "the limit is 32 bits"),
    (set_attribute("projections/1", "delay", -1), "projections/1: Projection gray -> a .* has delay -1"),
    (set_attribute("projections/1", "delay", 3), "gray -> a .* has delay 3, but its ends are 1 layers apart"),
    (set_attribute("projections/1", "src", "nobody"), "names population 'nobody', which does not exist"),
    (set_attribute("projections/1", "kernel", 77), "projections/1: kernel 77 does not exist, the file holds 5"),
    (set_attribute("projections/1", "stride", [0, 1]), r"projections/1: Conv stride is \(0, 1\), both sides must be >= 1"),
    (set_attribute("projections/5", "src_channels", [2, 9]), r"reads channels 2\.\.9 of 4"),
    (drop_attribute("projections/1", "kernel"), "the attribute 'kernel' is missing"),
    (set_attribute("projections/1", "kernel", 1), "projections/1|gray -> a"),
    (set_data("kernels/0/mantissa", np.zeros((4, 2, 3), "i1")), r"Conv kernel has shape \(4, 2, 3\); give"),
    (set_data("kernels/0/mantissa", np.full((4, 2, 3, 3), 200)), r"reach from 200 to 200, the limit is -128\.\.127"),
    (set_data("kernels/0/mantissa", np.full((4, 2, 3, 3), 1 << 20)), r"the limit is -32768\.\.32767"),
    (set_data("kernels/0/mantissa", np.zeros((0, 2, 3, 3), "i1")), "is empty; remove the projection"),
    (set_data("kernels/0/mantissa", np.full((4, 2, 3, 3), 0.25)), "kernels/0: dataset 'mantissa' holds the fraction 0.25"),
    (set_attribute("kernels/0", "exponent", 8), r"kernels/0: Kernel exponent is 8, the limit is -8\.\.7"),
    (set_attribute("kernels/0", "exponent", "x" * 5000), "'exponent' is 'xxxx.*xxx', it must be an integer"),
    (set_attribute("kernels/0", "note", "x" * 60000), "unknown attribute 'note'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=[message[:40] for _, message in CHANGES])
def test_what_the_extension_may_not_say(change: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.net"
    netx_export.write(branched(), path)
    edit(path, change)
    with pytest.raises(NetxError, match=message) as caught:
        netx_export.read(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value)) < 700


def test_a_kernel_that_nobody_uses(tmp_path: Path) -> None:
    netx_export.write(branched(), tmp_path / "x.net")
    edit(tmp_path / "x.net", lambda file: file.copy("basalt/kernels/0", file["basalt/kernels"], name="5"))
    assert "/basalt/kernels/5: no projection uses this kernel; remove it" in refusal(tmp_path / "x.net")


def test_layers_cannot_be_skipped_in_our_own_files(path: Path) -> None:
    with pytest.raises(
        NetxError, match="skip_layers, num_layers and the other reading options are for NetX files from elsewhere"
    ):
        netx_export.read(path, skip_layers=1)
