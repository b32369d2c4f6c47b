"""The compiled PTX of a kernel, kept on disk too: several ranks, and several runs of the tests, compile it once."""

from __future__ import annotations

import hashlib
import inspect
import os
import re
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

from numba.cuda import compiler

import kernels
from kernels.cuda import kernel as kernel_module
from kernels.cuda.kernel import ARCHITECTURES, Capability, Kernel
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
    """The kernel's PTX with its own name for the entry point, of one of ``ARCHITECTURES``.

    It comes from disk if neither a source nor a compiler has changed since it was put there.
    """
    file = _file(kernel, capability)
    try:
        return file.read_text()
    except FileNotFoundError:
        texts = _compiled(kernel)
    for each, text in texts.items():
        target = _file(kernel, each)
        own = target.with_suffix(f".{os.getpid()}")
        own.write_text(text)
        own.replace(target)  # at once, for another rank may be reading
    return texts[capability]


def _compiled(kernel: Kernel) -> dict[Capability, str]:
    """What ``kernel.ptx`` gives for each architecture; nine tenths of that work are the same for all, and done once."""
    types = kernel_module._types(kernel)
    with kernel_module._pretended(ARCHITECTURES[0]):
        library, _ = compiler._compile_pyfunc_with_fixup(
            kernel.function, types, device=False, abi="numba", cc=ARCHITECTURES[0]
        )
    return {each: _called(kernel, library.get_asm_strs(cc=each)[0]) for each in ARCHITECTURES}


def _called(kernel: Kernel, text: str) -> str:
    """The text with the kernel's name in the place of what Numba makes of the function's."""
    found = re.search(r"\.entry\s+([\w$]+)", text)
    assert found is not None
    return text.replace(found[1], kernel.name)


def _file(kernel: Kernel, capability: Capability) -> Path:
    return _folder() / f"{_key(kernel)}-{capability[0]}{capability[1]}.ptx"


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"ciranda-ptx-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@cache
def _key(kernel: Kernel) -> str:
    origin = inspect.getsourcefile(kernel.function) or ""
    told = (kernel.name, kernel.signature, _sources(), Path(origin).read_bytes(), _code(kernel))
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
