"""The compiled PTX of a kernel, kept on disk too: several ranks, and several runs of the tests, compile it once."""

from __future__ import annotations

import hashlib
import inspect
import os
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

import kernels
from kernels.cuda.kernel import Capability, Kernel
from tests.ptx.program import Program, build

__all__ = ["program", "ptx"]

PARTS = ("numba", "numba-cuda", "nvidia-nvvm")
"""What PTX depends on besides our sources."""


@cache
def program(kernel: Kernel, capability: Capability = (9, 0)) -> Program:
    """The kernel, ready to be interpreted."""
    return build(ptx(kernel, capability))


@cache
def ptx(kernel: Kernel, capability: Capability = (9, 0)) -> str:
    """The kernel's PTX: from disk if neither a source nor a compiler has changed since it was put there."""
    file = _folder() / f"{_key(kernel, capability)}.ptx"
    try:
        return file.read_text()
    except FileNotFoundError:
        text = kernel.ptx(capability)
    own = file.with_suffix(f".{os.getpid()}")
    own.write_text(text)
    own.replace(file)  # at once, for another rank may be reading
    return text


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"ciranda-ptx-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _key(kernel: Kernel, capability: Capability) -> str:
    origin = inspect.getsourcefile(kernel.function) or ""
    told = (kernel.name, kernel.signature, capability, _sources(), Path(origin).read_bytes(), _code(kernel))
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _code(kernel: Kernel) -> tuple[object, ...]:
    code = kernel.function.__code__
    cells = tuple(repr(cell.cell_contents) for cell in kernel.function.__closure__ or ())
    return code.co_code, code.co_names, tuple(map(repr, code.co_consts)), tuple(_stable(cell) for cell in cells)


def _stable(text: str) -> str:
    """A repr without the address of the object, which differs from process to process."""
    return text.partition(" at 0x")[0]


@cache
def _sources() -> str:
    """A digest of every source that a kernel may be made of, and of what compiles it."""
    digest = hashlib.sha256(repr([version(part) for part in PARTS]).encode())
    for source in sorted(Path(kernels.__path__[0]).rglob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()
