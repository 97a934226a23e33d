"""Ways to spoil a `.net` file: bytes, cuts, and objects that no network needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Rng = np.random.Generator

STRUCTURES = (b"TREE", b"SNOD", b"HEAP", b"OHDR", b"GCOL", b"\x89HDF")
"""Signatures of HDF5's own structures."""


# -- bytes ----------------------------------------------------------------------------------------------------------


def flip_bytes(path: Path, rng: Rng, sentinel: Path) -> None:
    """One to eight bytes, half of them inside HDF5's structures."""
    data = bytearray(path.read_bytes())
    places = [at for sign in STRUCTURES for at in _positions(data, sign)]
    for _ in range(int(rng.integers(1, 9))):
        near = int(rng.choice(places)) + int(rng.integers(0, 96)) if places else 0
        place = near if rng.random() < 0.5 else int(rng.integers(len(data)))
        data[min(place, len(data) - 1)] = int(rng.integers(256))
    path.write_bytes(data)


def flip_bits(path: Path, rng: Rng, sentinel: Path) -> None:
    """One bit inside HDF5's structures."""
    data = bytearray(path.read_bytes())
    places = [at for sign in STRUCTURES for at in _positions(data, sign)]
    place = min(int(rng.choice(places)) + int(rng.integers(0, 512)), len(data) - 1)
    data[place] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def cut(path: Path, rng: Rng, sentinel: Path) -> None:
    """A file that ends too early, sometimes with a header that hides it."""
    data = bytearray(path.read_bytes()[: int(rng.integers(1, path.stat().st_size))])
    if rng.random() < 0.5 and len(data) > 48:
        data[40:48] = len(data).to_bytes(8, "little")
    path.write_bytes(data)


def blank(path: Path, rng: Rng, sentinel: Path) -> None:
    """A run of zeros or of noise."""
    data = bytearray(path.read_bytes())
    start = int(rng.integers(len(data)))
    stop = min(len(data), start + int(rng.integers(1, 600)))
    data[start:stop] = bytes(stop - start) if rng.random() < 0.5 else rng.bytes(stop - start)
    path.write_bytes(data)


def move(path: Path, rng: Rng, sentinel: Path) -> None:
    """Bytes inserted, removed, or copied to another place."""
    data = bytearray(path.read_bytes())
    start, size = int(rng.integers(len(data))), int(rng.integers(1, 200))
    match int(rng.integers(3)):
        case 0:
            data[start:start] = rng.bytes(size)
        case 1:
            del data[start : start + size]
        case _:
            target = int(rng.integers(len(data)))
            data[target : target + size] = data[start : start + size]
    path.write_bytes(data)


def numbers(path: Path, rng: Rng, sentinel: Path) -> None:
    """An 8-byte field of some structure: an address, a size, a count."""
    data = bytearray(path.read_bytes())
    places = [at for sign in STRUCTURES for at in _positions(data, sign)]
    place = min(int(rng.choice(places)) + 8 * int(rng.integers(0, 12)), len(data) - 8)
    values = (0, 1, place, len(data), 2**31, 2**63 - 1, 2**64 - 1, int(rng.integers(len(data))))
    data[place : place + 8] = int(values[int(rng.integers(len(values)))]).to_bytes(8, "little")
    path.write_bytes(data)


def _positions(data: bytes | bytearray, sign: bytes) -> list[int]:
    found, at = [], data.find(sign)
    while at >= 0:
        found.append(at)
        at = data.find(sign, at + 1)
    return found


# -- objects --------------------------------------------------------------------------------------------------------


def _objects(file: h5py.File, kind: type[Any]) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, kind) else None)
    return names


def _content(file: h5py.File, name: str) -> np.ndarray[Any, Any] | None:
    """The numbers of a dataset, unless an earlier change made it huge or it holds no numbers."""
    data = file[name]
    if data.shape is None or data.size > 1 << 20 or data.dtype.kind not in "iufb":
        return None
    return np.array(data[()])


def _some(file: h5py.File, rng: Rng, kind: type[Any]) -> str:
    names = _objects(file, kind)
    return names[int(rng.integers(len(names)))]


def _replace(file: h5py.File, name: str, value: Any, **more: Any) -> None:
    del file[name]
    file.create_dataset(name, data=value, **more)


def values(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """A dataset with other numbers of the same shape, sometimes one of them not a number at all."""
    data = file[_some(file, rng, h5py.Dataset)]
    content = _content(file, data.name)
    if content is not None and content.size:
        at = tuple(int(rng.integers(extent)) for extent in content.shape)
        odd = (0, 1, -1, 2, 127, -129, 255, -256, 4096, 70000, 2**31 - 1, -(2**31))
        value: float = odd[int(rng.integers(len(odd)))]
        if content.dtype.kind == "f":
            value = (value, np.nan, np.inf, 0.5, 1e300)[int(rng.integers(5))]
        with np.errstate(all="ignore"):
            content[at] = np.asarray(value).astype(content.dtype)
        data[...] = content


def shape(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """A dataset of another shape."""
    name = _some(file, rng, h5py.Dataset)
    data = _content(file, name)
    if data is None:
        return
    flat = data.reshape(-1)
    options = (
        flat,
        flat[:-1],
        flat[:0],
        data[None],
        data[..., None],
        np.concatenate([flat, flat]),
        np.asarray(flat[0] if flat.size else 0),
        data.T,
    )
    _replace(file, name, options[int(rng.integers(len(options)))])


def dtype(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """A dataset of another type: texts, complex numbers, records, objects, narrow and wide numbers."""
    name = _some(file, rng, h5py.Dataset)
    data = _content(file, name)
    kinds = ("<f8", ">f4", "<i1", ">i8", "|u1", "<u8", "<f2", "?", "S4", "c16", "record", "empty", "vlen", "ref")
    kind = kinds[int(rng.integers(len(kinds)))]
    match kind:
        case "S4":
            _replace(file, name, np.full(() if data is None else data.shape, b"conv"))
        case "record":
            _replace(file, name, np.zeros(() if data is None else data.shape, [("a", "i4"), ("b", "f4")]))
        case "empty":
            _replace(file, name, h5py.Empty("f4"))
        case "vlen":
            del file[name]
            file.create_dataset(name, shape=(3,), dtype=h5py.vlen_dtype(np.int32))
        case "ref":
            _replace(file, name, np.array([file.ref], dtype=h5py.ref_dtype))
        case _ if data is not None:
            with np.errstate(all="ignore"):
                _replace(file, name, data.astype(kind))


def huge(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """A dataset that declares far more than the file holds."""
    name = _some(file, rng, h5py.Dataset)
    del file[name]
    rank = int(rng.integers(1, 5))
    extents = tuple(int(2 ** rng.integers(2, 22)) for _ in range(rank))
    compression = "gzip" if rng.random() < 0.5 else None
    file.create_dataset(
        name, shape=extents, dtype=("i1", "f4", "f8")[int(rng.integers(3))], chunks=(4,) * rank, compression=compression
    )


def bomb(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """Zeros that compress a thousand times."""
    name = _some(file, rng, h5py.Dataset)
    _replace(file, name, np.zeros(int(2 ** rng.integers(16, 24)), "i1"), compression="gzip", compression_opts=1)


def sizes(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """A declared shape of a layer or a population that is absurd."""
    for name in _objects(file, h5py.Dataset):
        if name.endswith("shape") and rng.random() < 0.7:
            _replace(file, name, (2 ** rng.integers(0, 31, int(rng.integers(1, 4)))).astype("i8"))
    for name in _objects(file, h5py.Group):
        if "shape" in file[name].attrs and rng.random() < 0.5:
            file[name].attrs["shape"] = (2 ** rng.integers(0, 12, 3)).astype("i8")


def remove(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """An object less."""
    del file[_some(file, rng, h5py.Dataset if rng.random() < 0.7 else h5py.Group)]


def rename(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """An object under another name, or a copy more."""
    name = _some(file, rng, h5py.Dataset if rng.random() < 0.5 else h5py.Group)
    if name == "":
        return
    parent = name.rpartition("/")[0]
    names = ("7", "weight_rec", "delay", "bias", "neuron", "layers", "\x1b[31m", "x" * 300, "ü", "type2")
    other = f"{parent}/{names[int(rng.integers(len(names)))]}"
    if other not in file:
        if rng.random() < 0.5:
            file.move(name, other)
        else:
            file.copy(name, other)


def words(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """A layer or a neuron of another type."""
    types = [name for name in _objects(file, h5py.Dataset) if name.endswith("type")]
    if types:
        name = types[int(rng.integers(len(types)))]
        options = (
            b"conv", b"dense", b"dense_rec", b"dense_comp", b"pool", b"unpool", b"convT", b"concat", b"average", b"input",
            b"flatten", b"CUBA", b"SDNN", b"RF_PHASE", b"RF_IZHIKEVICH", b"ALIF", b"\xff\xfe", b"",
        )  # fmt: skip
        _replace(file, name, np.bytes_(options[int(rng.integers(len(options)))]))


def extra(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """A field that some layer types know, with numbers that may fit."""
    groups = [name for name in _objects(file, h5py.Group) if name.startswith("layer/")] or ["layer"]
    group = groups[int(rng.integers(len(groups)))]
    fields = (
        "delay",
        "bias",
        "weight",
        "weight_rec",
        "layers",
        "groups",
        "stride",
        "iDecay",
        "vThMant",
        "sigma_output",
    )
    field = fields[int(rng.integers(len(fields)))]
    size = int(rng.choice([1, 2, 3, 4, 5, 9, 27, 4096]))
    if field not in file[group]:
        file[group][field] = rng.integers(-3, 70, () if size == 1 else (size,))


def attributes(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """Attributes of our own group: other values, other types, more of them, fewer."""
    names = [name for name in _objects(file, h5py.Group) if name.startswith("basalt")]
    if not names:
        extra(file, rng, sentinel)
        return
    group = file[names[int(rng.integers(len(names)))]]
    known = list(group.attrs)
    name = known[int(rng.integers(len(known)))] if known and rng.random() < 0.8 else "extra"
    options: tuple[Any, ...] = (
        -1, 0, 1, 2, 3, 63, 4096, 2**31, 2**62, 0.5, float("nan"), "Lif", "Dense", "x" * 5000, [1, 2], [1, 2, 3],
        [0] * 9, b"\xff",
    )  # fmt: skip
    if rng.random() < 0.15 and known:
        del group.attrs[name]
    else:
        group.attrs[name] = options[int(rng.integers(len(options)))]


def links(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """Links that lead elsewhere, into themselves, or to other files."""
    name = _some(file, rng, h5py.Dataset if rng.random() < 0.6 else h5py.Group)
    parent = name.rpartition("/")[0]
    match int(rng.integers(6)):
        case 0:
            del file[name]
            file[name] = h5py.SoftLink(f"/{_some(file, rng, h5py.Dataset)}")
        case 1:
            del file[name]
            file[name] = h5py.ExternalLink(str(sentinel), "/layer/0")
        case 2:
            file[f"{parent}/loop"] = file[parent] if parent else file["/"]
        case 3:
            # The same group twice: a hard link to an ancestor's sibling.
            file[f"{name}/again" if isinstance(file[name], h5py.Group) else f"{parent}/again"] = file["layer"]
        case 4:
            del file[name]
            file[name] = h5py.SoftLink(f"/{name}")
        case _:
            file.create_group(f"{parent}/" + "/".join("deep" for _ in range(int(rng.integers(2, 60)))))


def elsewhere(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """A dataset whose numbers lie in another file."""
    name = _some(file, rng, h5py.Dataset)
    extents = file[name].shape or (3,)
    del file[name]
    if rng.random() < 0.5:
        file.create_dataset(name, shape=extents, dtype="i4", external=[(str(sentinel), 0, h5py.h5f.UNLIMITED)])
    else:
        layout = h5py.VirtualLayout(shape=extents, dtype="i4")
        layout[...] = h5py.VirtualSource(str(sentinel), "layer/0/weight", shape=extents)
        file.create_virtual_dataset(name, layout)


def crowd(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """Very many objects."""
    group = file.create_group(f"layer/{int(rng.integers(100))}/crowd")
    for index in range(int(rng.integers(200, 2000))):
        group.create_group(str(index))


def filters(file: h5py.File, rng: Rng, sentinel: Path) -> None:
    """Compression of every kind that h5py offers, and checksums."""
    name = _some(file, rng, h5py.Dataset)
    data = _content(file, name)
    if data is not None and data.ndim and data.size:
        options: tuple[dict[str, Any], ...] = (
            {"compression": "gzip", "shuffle": True},
            {"compression": "lzf"},
            {"scaleoffset": 0},
            {"fletcher32": True, "chunks": True},
        )
        chosen = options[int(rng.integers(len(options)))]
        if "scaleoffset" not in chosen or data.dtype.kind in "iu":
            _replace(file, name, data, **chosen)


BYTES: tuple[Callable[[Path, Rng, Path], None], ...] = (
    flip_bytes, flip_bytes, flip_bytes, flip_bits, flip_bits, cut, blank, move, numbers, numbers,
)  # fmt: skip
OBJECTS: tuple[Callable[[h5py.File, Rng, Path], None], ...] = (
    values, values, values, shape, shape, dtype, dtype, huge, bomb, sizes, remove, rename, words, words, extra, extra,
    attributes, attributes, links, links, elsewhere, crowd, filters,
)  # fmt: skip
