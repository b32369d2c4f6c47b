"""The compiled PTX of a kernel, kept on disk too: several ranks, and several runs of the tests, compile it once."""

from __future__ import annotations

import ast
import hashlib
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

__all__ = ["called", "program", "ptx"]

PARTS = ("numba", "numba-cuda", "nvidia-nvvm")
"""What PTX depends on besides our sources."""


def program(kernel: Kernel, capability: Capability = (9, 0)) -> Program:
    """The kernel, ready to be interpreted."""
    # Ampere and Hopper mostly get the same text, but for the line that names them.
    return _built(re.sub(r"^\.target .*$", "", ptx(kernel, capability), flags=re.MULTILINE))


@cache
def _built(text: str) -> Program:
    return build(text)


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
    return {each: called(kernel, library.get_asm_strs(cc=each)[0]) for each in ARCHITECTURES}


def called(kernel: Kernel, text: str) -> str:
    """The text with the kernel's name in the place of what Numba makes of the function's."""
    found = re.search(r"\.entry\s+([\w$]+)", text)
    assert found is not None
    text = re.sub(r"^\.common.*;$", "", text, flags=re.MULTILINE)  # Numba's, for exceptions: nothing reads it
    return text.replace(found[1], kernel.name)


def _file(kernel: Kernel, capability: Capability) -> Path:
    return _folder() / f"{_key(kernel)}-{capability[0]}{capability[1]}.ptx"


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"ciranda-ptx-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@cache
def _key(kernel: Kernel) -> str:
    """A digest of all that the PTX depends on."""
    code = kernel.function.__code__
    cells = [repr(cell.cell_contents).partition(" at 0x")[0] for cell in kernel.function.__closure__ or ()]
    told = (kernel.name, kernel.signature, code.co_code, code.co_names, cells)
    digest = hashlib.sha256(repr([told, [version(part) for part in PARTS]]).encode())
    for name in sorted(_reached(kernel.function.__module__)):
        digest.update(_source(name))
    return digest.hexdigest()


@cache
def _reached(module: str) -> frozenset[str]:
    """The module and those of this repository that it imports, directly or not."""
    found, new = set[str](), {module}
    while new:
        found |= new
        new = {name for each in new for name in _imported(each)} - found
    return frozenset(found)


@cache
def _imported(module: str) -> frozenset[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(_source(module))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return frozenset(name for name in names if name.split(".", maxsplit=1)[0] in ("kernels", "tests") and _source(name))


@cache
def _source(module: str) -> bytes:
    """The module's text; nothing if that is the name of something in a module."""
    stem = Path(kernels.__path__[0]).parent.joinpath(*module.split("."))
    files = [stem.with_suffix(".py"), stem / "__init__.py"]
    return next((file.read_bytes() for file in files if file.exists()), b"")
