"""One PTX instruction in generated code, for what LLVM's language cannot say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

__all__ = ["instruction"]

_REGISTERS = {"i16": "h", "i32": "r", "i64": "l", "float": "f", "double": "d"}
"""LLVM's names of types, and the letters by which inline PTX takes registers of their size."""


def instruction(builder: Any, text: str, result: Any, arguments: Sequence[Any]) -> Any:
    """Code that carries out ``text`` (operands ``$0`` the result, ``$1`` ... the arguments); it has no side effects."""
    letters = ["=" + _REGISTERS[str(result)], *(_REGISTERS[str(argument.type)] for argument in arguments)]
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    return builder.call(ir.InlineAsm(function, text, ",".join(letters)), list(arguments))
