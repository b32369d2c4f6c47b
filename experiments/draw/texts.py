"""The words in a diagram, in each language that it speaks."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from experiments.errors import UsageFault

__all__ = ["LANGUAGES", "Texts", "counted", "texts"]


@dataclass(frozen=True, slots=True)
class Texts:
    """One language: single words, (singular, plural), and format strings with braces."""

    language: str
    rank: str
    ranks: tuple[str, str]
    round: str
    rounds: tuple[str, str]
    messages: tuple[str, str]
    time: str
    chunk: str
    chunks: str
    reduce: str
    copy: str
    sends: str
    labels: str
    receives: str
    sends_to: str
    receives_from: str
    combines: str
    folding: str
    bound: str
    idle: str
    per_message: str
    decimal: str
    describe: str
    tooltip: str
    path: str
    link_use: str
    mean: str
    most_used: str
    busiest: str


LANGUAGES = MappingProxyType(
    {
        "en": Texts(
            language="en",
            rank="rank",
            ranks=("rank", "ranks"),
            round="round",
            rounds=("round", "rounds"),
            messages=("message", "messages"),
            time="time",
            chunk="chunk",
            chunks="chunks",
            reduce="to combine",
            copy="to copy",
            sends="above the line: sends",
            labels="chunk → rank",
            receives="below: receives (pale: copies)",
            sends_to="sends to",
            receives_from="receives from",
            combines="combines",
            folding="computes",
            bound="lower bound",
            idle="nothing to send",
            per_message="per message",
            decimal=".",
            describe="Space-time diagram: {algorithm} ({collective}), {ranks}, {messages} in {rounds}, {seconds}.",
            tooltip="round {round}: rank {source} → rank {dest}, chunks {chunks}, {nbytes}, {start} to {end}",
            path="critical path",
            link_use="Use of links",
            mean="mean",
            most_used="the {shown} most used of {used} links",
            busiest="Share of bandwidth used over time. The busiest link is {link}, {share} on average.",
        ),
        "pt": Texts(
            language="pt",
            rank="rank",
            ranks=("rank", "ranks"),
            round="rodada",
            rounds=("rodada", "rodadas"),
            messages=("mensagem", "mensagens"),
            time="tempo",
            chunk="bloco",
            chunks="blocos",
            reduce="para combinar",
            copy="para copiar",
            sends="acima da linha: envia",
            labels="bloco → rank",
            receives="abaixo: recebe (claro: copia)",
            sends_to="envia para",
            receives_from="recebe de",
            combines="combina",
            folding="calcula",
            bound="limite inferior",
            idle="nada a enviar",
            per_message="por mensagem",
            decimal=",",
            describe="Diagrama espaço-tempo: {algorithm} ({collective}), {ranks}, {messages} em {rounds}, {seconds}.",
            tooltip="rodada {round}: rank {source} → rank {dest}, blocos {chunks}, {nbytes}, {start} a {end}",
            path="caminho crítico",
            link_use="Uso dos enlaces",
            mean="média",
            most_used="os {shown} enlaces mais usados de {used}",
            busiest="Parte da banda usada ao longo do tempo. O enlace mais ocupado é {link}, {share} em média.",
        ),
    }
)


def texts(language: str) -> Texts:
    """The texts of ``en`` or ``pt``; UsageFault for another language."""
    if language not in LANGUAGES:
        raise UsageFault(f"language {language!r} is not spoken here; use {' or '.join(LANGUAGES)}")
    return LANGUAGES[language]


def counted(noun: tuple[str, str], count: int) -> str:
    """``1 rank``, ``4 ranks``."""
    return f"{count} {noun[count != 1]}"
