"""What ptxas makes of the kernels for a card: registers, stack and the instructions in their order.

The tools are those of NVIDIA's wheels; neither a driver nor a card is needed.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kernels.cuda.kernel import Capability, Kernel
from tests.ptx.compiled import ptx

__all__ = ["Code", "Line", "assembled"]

USED = re.compile(
    r"entry function '(?P<name>\w+)'.*?(?P<stack>\d+) bytes stack frame, (?P<stored>\d+) bytes spill stores, "
    r"(?P<loaded>\d+) bytes spill loads.*?Used (?P<registers>\d+) registers",
    re.DOTALL,
)
INSTRUCTION = re.compile(r"\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")
LABEL = re.compile(r"^(\.L_x_\d+):")
SECTION = re.compile(r"^\.text\.(\w+):")
ENDS_A_BLOCK = ("BRA", "EXIT", "RET", "CALL", "BRX", "JMP", "BREAK")


@dataclass(frozen=True, slots=True)
class Line:
    """One instruction: its opcode with all modifiers, and its operands as text."""

    opcode: str
    operands: str

    @property
    def text(self) -> str:
        """As nvdisasm writes it, without its guard."""
        return f"{self.opcode} {self.operands}"

    @property
    def is_global(self) -> bool:
        """Whether it loads from or stores to global memory."""
        return self.opcode.split(".")[0] in ("LDG", "STG", "LD", "ST")

    @property
    def is_load(self) -> bool:
        """Whether it loads from global memory."""
        return self.opcode.split(".")[0] in ("LDG", "LD")

    @property
    def is_wide(self) -> bool:
        """Whether it moves 128 bits."""
        return self.is_global and "128" in self.opcode.split(".")


@dataclass(frozen=True, slots=True)
class Code:
    """A kernel for one architecture. ``blocks`` are its instructions up to and from each label and branch.

    ``looped`` are the numbers of the blocks that lie between a label and a branch back to it.
    """

    kernel: Kernel
    capability: Capability
    registers: int
    stack: int
    spilled: int
    blocks: tuple[tuple[Line, ...], ...]
    looped: frozenset[int]

    def hot(self) -> list[tuple[Line, ...]]:
        """The blocks within loops that move 128 bits at a time."""
        return [block for number, block in enumerate(self.blocks) if number in self.looped and _wide(block)]


def assembled(kernels: Sequence[Kernel], capability: Capability, most: int | None = None) -> list[Code]:
    """All the kernels in one cubin, for starting the disassembler takes longer than its work.

    ``most`` has ptxas use no more registers than that.
    """
    from cuda.core import Linker, LinkerOptions, ObjectCode

    texts = [_renamed(kernel, ptx(kernel, capability), number) for number, kernel in enumerate(kernels)]
    objects = [ObjectCode.from_ptx(text.encode(), name=f"k{number}") for number, text in enumerate(texts)]
    architecture = "sm_{}{}".format(*capability)
    options = LinkerOptions(arch=architecture, ptxas_options=["-v"], max_register_count=most)
    linker = Linker(*objects, options=options)
    cubin = linker.link("cubin").code
    used = {found["name"]: found for found in USED.finditer(linker.get_info_log())}
    sections = _sections(_disassembled(cubin))
    return [
        _code(kernel, capability, used[f"k{number}"], sections[f"k{number}"]) for number, kernel in enumerate(kernels)
    ]


def _renamed(kernel: Kernel, text: str, number: int) -> str:
    """The module with names that no other has: Numba gives the same ones to the shared memory of different kernels."""
    return text.replace(kernel.name, f"k{number}").replace("_cudapy_smem", f"shared{number}")


def _disassembled(cubin: bytes) -> str:
    import nvidia

    tool = next(path for root in nvidia.__path__ for path in Path(root).glob("cu*/bin/nvdisasm"))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), "-c", "-ndf", file.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _sections(listing: str) -> dict[str, list[str]]:
    """The lines of each function."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in listing.splitlines():
        if found := SECTION.match(line):
            lines = sections[found[1]] = []
        lines.append(line)
    return sections


def _code(kernel: Kernel, capability: Capability, used: re.Match[str], lines: Iterable[str]) -> Code:
    blocks: list[list[Line]] = [[]]
    labels: dict[str, int] = {}
    branches: list[tuple[int, str]] = []
    for text in lines:
        if label := LABEL.match(text):
            blocks.append([])
            labels[label[1]] = len(blocks) - 1
        if not (found := INSTRUCTION.match(text)):
            continue
        line = Line(found[2], found[3].strip())
        blocks[-1].append(line)
        if line.opcode.split(".")[0] in ENDS_A_BLOCK:
            branches += [(len(blocks) - 1, target) for target in re.findall(r"\.L_x_\d+", line.operands)]
            blocks.append([])
    back = [(labels[target], at) for at, target in branches if labels.get(target, at + 1) <= at]
    looped = {number for first, last in back for number in range(first, last + 1)}
    spilled = int(used["stored"]) + int(used["loaded"])
    frozen = tuple(map(tuple, blocks))
    return Code(kernel, capability, int(used["registers"]), int(used["stack"]), spilled, frozen, frozenset(looped))


def _wide(block: Iterable[Line]) -> bool:
    return any(line.is_wide for line in block)
