"""PTX text as values: entry points, their instructions, and the variables they name.

Source: PTX ISA 9.0, sections 4 (syntax) and 5 (state spaces, types, variables).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.ptx.faults import Unknown

__all__ = [
    "Address",
    "Entry",
    "Immediate",
    "Instruction",
    "Operand",
    "Register",
    "Symbol",
    "Variable",
    "Vector",
    "parse",
]

IGNORED = {"pragma", "loc", "file", "section"}
BITS = {"pred": 1, "b8": 8, "s8": 8, "u8": 8, "b16": 16, "s16": 16, "u16": 16, "f16": 16, "f16x2": 32, "b32": 32,
        "s32": 32, "u32": 32, "f32": 32, "b64": 64, "s64": 64, "u64": 64, "f64": 64}  # fmt: skip
VARIABLE = re.compile(
    r"\.(?P<space>global|const|shared|local|param)\s+(?:\.ptr\s+)?(?:\.align\s+(?P<align>\d+)\s+)?"
    r"\.(?P<type>\w+)\s+(?:\.ptr\s+)?(?:\.(?:global|shared|local|const)\s+)?(?:\.align\s+\d+\s+)?"
    r"(?P<name>[\w$%]+)\s*(?P<array>\[\s*\d*\s*\])?\s*(?:=\s*(?P<initial>.*))?$",
    re.DOTALL,
)
STATEMENT = re.compile(r"\s*([{}]|[^;:{}\s][^;:{}]*(?:\{[^{}]*\}[^;:{}]*)*[;:])")

PART = re.compile(r"(?:\{[^}]*\}|\[[^\]]*\]|\([^)]*\)|[^,{\[(])+")


@dataclass(frozen=True, slots=True)
class Register:
    """A register by its name within one entry, where inner scopes have made names unique; ``not_`` for ``!%p1``."""

    name: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Immediate:
    """A constant: a whole number, or the bits of a float32 or float64 (``floating`` says which, else 0)."""

    value: int
    floating: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, a special register or a label."""

    name: str


@dataclass(frozen=True, slots=True)
class Address:
    """``[base + offset]``."""

    base: Register | Symbol | Immediate
    offset: int


@dataclass(frozen=True, slots=True)
class Vector:
    """``{a, b}``, or ``a|b``: several operands in the place of one."""

    parts: tuple[Operand, ...]


Operand = Register | Immediate | Symbol | Address | Vector


@dataclass(frozen=True, slots=True)
class Instruction:
    """``@guard opcode operands;`` at a line of the text. ``parts`` are the opcode's words, without their dots."""

    parts: tuple[str, ...]
    operands: tuple[Operand, ...]
    guard: Register | None
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Variable:
    """Memory that the text declares: its state space, size and alignment in bytes, and first contents if given."""

    name: str
    space: str
    nbytes: int
    align: int
    type: str
    initial: bytes | None = None


@dataclass(slots=True)
class Entry:
    """A kernel: its parameters in order, instructions, where labels stand among them, and what it declares."""

    name: str
    parameters: list[Variable] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    variables: dict[str, Variable] = field(default_factory=dict)


def parse(text: str) -> Entry:
    """The one entry point of a module; Unknown where there are several, or functions beside it."""
    text = re.sub(r"/\*.*?\*/", lambda found: "\n" * found.group().count("\n"), text, flags=re.DOTALL)
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r"^\.(version|target|address_size)[^\n]*$", "", text, flags=re.MULTILINE)
    heads = list(re.finditer(r"\.(entry|func)\b", text))
    if [head.group(1) for head in heads] != ["entry"]:
        raise Unknown(f"a module with {len(heads)} functions: one entry point, and nothing that it calls, is known")
    head = heads[0]
    opening = text.index("(", head.end())
    closing = text.index(")", opening)
    brace = text.index("{", closing)
    entry = Entry(text[head.end() : opening].strip())
    for declaration in text[: head.start()].split(";"):
        _declare(declaration.removesuffix(".visible").strip(), entry.variables)
    parameters: dict[str, Variable] = {}
    for declaration in text[opening + 1 : closing].split(","):
        _declare(declaration.strip(), parameters)
    entry.parameters.extend(parameters.values())
    _Body(entry).read(text, brace)
    return entry


class _Body:
    """Reads the statements between the braces of an entry into it."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._scopes: list[dict[str, str]] = []
        self._opened = 0
        self._known: dict[str, Operand] = {}

    def read(self, text: str, position: int) -> None:
        for token, line in _statements(text, position):
            if token in "{}":
                self._known.clear()
            if token == "{":
                self._scopes.append({})
                self._opened += 1
            elif token == "}":
                self._scopes.pop()
                if not self._scopes:
                    return
            elif token.endswith(":"):
                self._entry.labels[token[:-1].strip()] = len(self._entry.instructions)
            else:
                self._statement(token, line)

    def _statement(self, text: str, line: int) -> None:
        if not text.startswith("."):
            self._entry.instructions.append(self._instruction(text, line))
        elif text.startswith(".reg"):
            self._registers(text)
        elif text[1:].split(None, 1)[0] not in IGNORED:
            _declare(text, self._entry.variables)

    def _registers(self, text: str) -> None:
        self._known.clear()
        _, kind, names = text.split(None, 2)
        bits = BITS.get(kind.removeprefix("."))
        if bits is None:
            raise Unknown(f"registers of type {kind}")
        for name in names.split(","):
            stem, bracket, count = name.strip().partition("<")
            plain = [f"{stem}{i}" for i in range(int(count.rstrip("> ")))] if bracket else [stem]
            for one in plain:
                unique = one if len(self._scopes) == 1 else f"{one}@{self._opened}"
                self._scopes[-1][one] = unique
                self._entry.registers[unique] = bits

    def _instruction(self, text: str, line: int) -> Instruction:
        guard = None
        words = text
        if words.startswith("@"):
            predicate, words = words[1:].split(None, 1)
            found = self._operand(predicate)
            if not isinstance(found, Register):
                raise Unknown(f"line {line}: {text!r} has a guard that is no register")
            guard = found
        opcode, _, rest = words.partition(" ")
        if "\t" in opcode:
            opcode, _, rest = words.partition("\t")
        operands = tuple(self._operand(part) for part in _split(rest))
        return Instruction(tuple(opcode.split(".")), operands, guard, " ".join(text.split()), line)

    def _operand(self, text: str) -> Operand:
        text = text.strip()
        if text not in self._known:
            self._known[text] = self._new(text)
        return self._known[text]

    def _new(self, text: str) -> Operand:
        if text.startswith("["):
            return self._address(text[1:-1])
        if text.startswith(("{", "(")):
            return Vector(tuple(self._operand(part) for part in _split(text[1:-1])))
        if "|" in text:
            return Vector(tuple(self._operand(part) for part in text.split("|")))
        if text.startswith("!"):
            return Register(self._unique(text[1:].strip()), negated=True)
        if text[0] in "-0123456789":
            return _number(text)
        unique = self._unique(text)
        return Register(unique) if unique in self._entry.registers else Symbol(text)

    def _unique(self, name: str) -> str:
        return next((scope[name] for scope in reversed(self._scopes) if name in scope), name)

    def _address(self, text: str) -> Address:
        base, _, offset = text.partition("+")
        place = self._operand(base)
        if not isinstance(place, Register | Symbol | Immediate):
            raise Unknown(f"the address [{text}]")
        return Address(place, int(offset, 0) if offset else 0)


def _statements(text: str, position: int) -> Iterator[tuple[str, int]]:
    """Each statement, label (with its colon) and lone brace from here on, with the line it begins on."""
    line = text.count("\n", 0, position) + 1
    for found in STATEMENT.finditer(text, position):
        line += text.count("\n", position, found.start(1))
        position = found.start(1)
        yield found.group(1).rstrip(";").rstrip(), line


def _split(text: str) -> list[str]:
    """The parts between commas that stand in no brackets."""
    if "{" not in text and "(" not in text:
        return [part for part in text.split(",") if part.strip()]
    return [part for part in PART.findall(text) if part.strip()]


def _number(text: str) -> Immediate:
    if text.startswith(("0f", "0F")):
        return Immediate(int("0x" + text[2:], 0), 32)
    if text.startswith(("0d", "0D")):
        return Immediate(int("0x" + text[2:], 0), 64)
    text = text.rstrip("U")
    if re.fullmatch(r"-?0[0-7]+", text):
        return Immediate(int(text, 8))
    if not re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|0[bB][01]+|\d+)", text):
        raise Unknown(f"the number {text}")
    return Immediate(int(text, 0))


def _declare(text: str, into: dict[str, Variable]) -> None:
    """Add the variable that a declaration makes; nothing for an empty one."""
    text = re.sub(r"\.(visible|common|weak|extern|unique)\b", "", text).strip()
    if not text:
        return
    found = VARIABLE.match(text)
    if found is None or found["type"] not in BITS:
        raise Unknown(f"the declaration {' '.join(text.split())!r}")
    itemsize = BITS[found["type"]] // 8
    count = int(found["array"].strip("[] ") or 0) if found["array"] else 1
    initial = _contents(found["initial"], found["type"], count * itemsize) if found["initial"] else None
    align = int(found["align"] or itemsize)
    into[found["name"]] = Variable(found["name"], found["space"], count * itemsize, align, found["type"], initial)


def _contents(text: str, kind: str, nbytes: int) -> bytes:
    values = [_number(part.strip()) for part in text.strip().strip("{}").split(",")]
    size = BITS[kind] // 8
    packed = b"".join((value.value % (1 << 8 * size)).to_bytes(size, "little") for value in values)
    return packed.ljust(nbytes, b"\0")
