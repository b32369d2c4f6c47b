"""The words of the animated page in each language; braces are filled in by the page."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["TEXTS"]

_EN = MappingProxyType({
    "facts": "{ranks} ranks, {nbytes} on {network}",
    "stage": "Ranks in a circle, each with what it holds of every chunk",
    "play": "Play",
    "pause": "Pause",
    "back": "Back",
    "step": "Step",
    "speed": "Speed",
    "slider": "Round",
    "round": "round {round} of {rounds}",
    "start": "start",
    "until": "until {moment}",
    "next": "Next: {messages}",
    "done": "Done. Every rank has what it was promised.",
    "idle": "nobody sends",
    "combine": "rank {source} → rank {dest}: {chunks}, combined",
    "copy": "rank {source} → rank {dest}: {chunks}, copied",
    "circle": "a circle is combined with what is there",
    "square": "a square replaces it",
    "holds": "Who holds what",
    "counts": "A number says how many contributions are in a chunk; below it are the ranks that they come from.",
    "rank": "rank",
    "chunk": "chunk",
    "chunks": "chunks",
    "more": "and {count} more",
    "keys": "Keys: space plays and pauses, the arrows step, Home and End go to the start and the end.",
    "other": "Português",
    "nothing": "no contribution",
})  # fmt: skip

_PT = MappingProxyType({
    "facts": "{ranks} ranks, {nbytes} na rede {network}",
    "stage": "Ranks em círculo, cada um com o que tem de cada bloco",
    "play": "Reproduzir",
    "pause": "Pausar",
    "back": "Voltar",
    "step": "Avançar",
    "speed": "Velocidade",
    "slider": "Rodada",
    "round": "rodada {round} de {rounds}",
    "start": "início",
    "until": "até {moment}",
    "next": "A seguir: {messages}",
    "done": "Pronto. Cada rank tem o que lhe foi prometido.",
    "idle": "ninguém envia",
    "combine": "rank {source} → rank {dest}: {chunks}, para combinar",
    "copy": "rank {source} → rank {dest}: {chunks}, para copiar",
    "circle": "um círculo se combina com o que está lá",
    "square": "um quadrado o substitui",
    "holds": "Quem tem o quê",
    "counts": "O número diz quantas contribuições há num bloco; abaixo estão os ranks de onde elas vêm.",
    "rank": "rank",
    "chunk": "bloco",
    "chunks": "blocos",
    "more": "e mais {count}",
    "keys": "Teclas: espaço reproduz e pausa, as setas avançam e voltam, Home e End vão ao início e ao fim.",
    "other": "English",
    "nothing": "nenhuma contribuição",
})  # fmt: skip

TEXTS: Mapping[str, Mapping[str, str]] = MappingProxyType({"en": _EN, "pt": _PT})
"""By language, then by what is said."""
