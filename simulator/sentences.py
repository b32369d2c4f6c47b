"""An explanation in words: a few plain sentences with numbers, in English or Portuguese."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from collectives.catalogue import Algorithm
from simulator import theory
from simulator.explanation import Explanation, Kind
from simulator.timeline import Message

__all__ = ["LANGUAGES", "kinds_in_words", "sentences"]

_WORTH_NAMING = 0.005
_WORTH_ADVICE = 0.25
_UNEVEN = 1.5  # a round that takes more than this many times its even share is named
_BINS = 64
_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
_BYTES = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


@dataclass(frozen=True, slots=True)
class _Texts:
    """One language; format strings with braces."""

    decimal: str
    joint: str
    and_: str
    kinds: Mapping[Kind, str]
    advice: Mapping[Kind, str]
    total: str
    bound: str
    shares: str
    path: str
    one_round: str
    even: str
    link: str
    slack: str
    close: str
    less: str
    idle: str


LANGUAGES = MappingProxyType(
    {
        "en": _Texts(
            decimal=".",
            joint=", ",
            and_=" and ",
            kinds={
                "latency": "latency (α)",
                "bandwidth": "moving bytes (β)",
                "contention": "links that are shared or slow",
                "overhead": "processor time for messages (o)",
                "reduction": "reduction (γ)",
                "encoding": "encoding and decoding",
                "staging": "the first piece through host memory",
                "waiting": "waiting for a port or a processor",
                "compute": "computing, or starting late",
            },
            advice={
                "latency": "{messages} messages follow one another. Fewer rounds would help (for {ranks} ranks "
                "{least} at best), and so would larger messages or quicker ones.",
                "bandwidth": "The messages of the path carry {times} times the vector, and {fewest} times must pass "
                "some rank in any algorithm. Faster links would help{less}.",
                "contention": "Messages meet on links. Partners that are nearer, another placement of the ranks or "
                "more bandwidth inside the network would help.",
                "overhead": "Processors handle messages most of the time. Fewer and larger messages would help.",
                "reduction": "Arithmetic holds the run up. An algorithm that spreads it over all ranks, or a faster "
                "reduction, would help.",
                "encoding": "Encoding and decoding take most of the time. Fewer messages, a cheaper encoding or none "
                "would help.",
                "staging": "Messages pass through host memory, and a piece must be there before it goes on. Smaller "
                "pieces would help, and so would a network card that reads device memory (GPUDirect).",
                "waiting": "Ports or processors are taken when they are needed. An algorithm in which each rank sends "
                "and receives one message at a time, or a core for each rank, would help.",
                "compute": "The network is not what this run waits for.",
            },
            total="{algorithm} takes {seconds} for {nbytes} over {ranks} ranks on {network}",
            bound=", {times} times the lower bound.",
            shares="Of this, {shares}.",
            path="The critical path ends at rank {last} and takes {messages} messages through {rounds} rounds; rank "
            "{rank} is on it for {share}.",
            one_round="Round {round} alone, from rank {source} to rank {dest}, is {share} of it.",
            even="No round stands out.",
            link="The most contended link of the path is {link}: {seconds} of delay.",
            slack="Rank {rank} is done first, {seconds} before the end.",
            less=", and so would an algorithm that sends less",
            close="No algorithm can be more than {share} faster on this network.",
            idle="{algorithm} takes no time here: there is nothing to wait for.",
        ),
        "pt": _Texts(
            decimal=",",
            joint=", ",
            and_=" e ",
            kinds={
                "latency": "latência (α)",
                "bandwidth": "transporte de bytes (β)",
                "contention": "enlaces compartilhados ou lentos",
                "overhead": "tempo de processador para mensagens (o)",
                "reduction": "redução (γ)",
                "encoding": "codificação e decodificação",
                "staging": "a primeira parte pela memória do hospedeiro",
                "waiting": "espera por uma porta ou um processador",
                "compute": "cálculo ou início atrasado",
            },
            advice={
                "latency": "{messages} mensagens vêm uma depois da outra. Menos rodadas ajudariam (para {ranks} ranks, "
                "{least} no melhor caso), e também mensagens maiores ou mais rápidas.",
                "bandwidth": "As mensagens do caminho levam {times} vezes o vetor, e {fewest} vezes passam por algum "
                "rank em qualquer algoritmo. Enlaces mais rápidos ajudariam{less}.",
                "contention": "Mensagens se encontram nos enlaces. Parceiros mais próximos, outra colocação dos ranks "
                "ou mais banda dentro da rede ajudariam.",
                "overhead": "Os processadores passam a maior parte do tempo com mensagens. Menos mensagens, maiores, "
                "ajudariam.",
                "reduction": "A aritmética segura a execução. Um algoritmo que a reparta entre todos os ranks, ou uma "
                "redução mais rápida, ajudaria.",
                "encoding": "Codificar e decodificar leva a maior parte do tempo. Menos mensagens, uma codificação "
                "mais barata ou nenhuma ajudariam.",
                "staging": "As mensagens são copiadas pela memória do hospedeiro, e uma parte tem de estar lá antes de "
                "seguir. Partes menores ajudariam, e também uma placa de rede que leia a memória do dispositivo "
                "(GPUDirect).",
                "waiting": "Portas ou processadores estão ocupados quando são necessários. Um algoritmo em que cada "
                "rank envia e recebe uma mensagem por vez, ou um núcleo para cada rank, ajudaria.",
                "compute": "Não é pela rede que esta execução espera.",
            },
            total="{algorithm} leva {seconds} para {nbytes} em {ranks} ranks na rede {network}",
            bound=", {times} vezes o limite inferior.",
            shares="Disso, {shares}.",
            path="O caminho crítico termina no rank {last} e usa {messages} mensagens em {rounds} rodadas; o rank "
            "{rank} está nele por {share}.",
            one_round="Só a rodada {round}, do rank {source} para o rank {dest}, é {share} dele.",
            even="Nenhuma rodada se destaca.",
            link="O enlace mais disputado do caminho é {link}: {seconds} de atraso.",
            slack="O rank {rank} termina primeiro, {seconds} antes do fim.",
            less=", e também um algoritmo que envie menos",
            close="Nenhum algoritmo pode ser mais que {share} mais rápido nesta rede.",
            idle="{algorithm} não leva tempo aqui: não há o que esperar.",
        ),
    }
)


def sentences(found: Explanation, language: str) -> list[str]:
    """What ``found`` says, most important first. ValueError for a language other than ``en`` and ``pt``."""
    return list(_Teller(found, _spoken(language)).tell())


def kinds_in_words(found: Explanation, language: str) -> str:
    """``90 % moving bytes (β) and 10 % latency (α)``: the terms of a run that takes any time. ValueError likewise."""
    return _Teller(found, _spoken(language)).kinds()


def _spoken(language: str) -> _Texts:
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r} is not spoken here; use {' or '.join(LANGUAGES)}")
    return LANGUAGES[language]


class _Teller:
    """Tells one explanation in one language."""

    def __init__(self, found: Explanation, say: _Texts) -> None:
        self.found, self.run, self.say = found, found.run, say
        self.shares = sorted(found.shares().items(), key=lambda share: -share[1])

    def tell(self) -> Iterable[str]:
        """One sentence or two at a time."""
        if not self.run.seconds:
            yield self.say.idle.format(algorithm=self.run.algorithm.label)
            return
        yield self._total()
        yield self.say.shares.format(shares=self.kinds())
        if self.found.messages:
            yield self._path()
        if contended := self._contended():
            yield self.say.link.format(link=contended[0], seconds=self._seconds(contended[1]))
        first = int(np.argmax(self.found.slack))
        if self.found.slack[first] > _WORTH_NAMING * self.run.seconds:
            yield self.say.slack.format(rank=first, seconds=self._seconds(float(self.found.slack[first])))
        yield from self._advice()

    def _total(self) -> str:
        run = self.run
        total = self.say.total.format(
            algorithm=run.algorithm.label, seconds=self._seconds(run.seconds), nbytes=_nbytes(run.nbytes),
            ranks=run.size, network=run.network.name,
        )  # fmt: skip
        return total + (self.say.bound.format(times=self._number(run.seconds / run.bound)) if run.bound else ".")

    def kinds(self) -> str:
        """The terms worth naming, the largest first."""
        named = [
            f"{self._share(seconds)} {self.say.kinds[kind]}"
            for kind, seconds in self.shares
            if seconds > _WORTH_NAMING * self.run.seconds
        ]
        return named[0] if len(named) == 1 else self.say.joint.join(named[:-1]) + self.say.and_ + named[-1]

    def _path(self) -> str:
        ranks, rounds = self._by_rank(), self._by_round()
        longest = max(rounds, key=lambda message: rounds[message])
        rank = max(ranks, key=lambda each: ranks[each])
        said = self.say.path.format(
            last=self.found.steps[-1].rank, messages=len(self.found.messages),
            rounds=len({message.round for message in self.found.messages}), rank=rank, share=self._share(ranks[rank]),
        )  # fmt: skip
        if len(rounds) < 2 or rounds[longest] * len(rounds) < _UNEVEN * self.run.seconds:
            return f"{said} {self.say.even}" if len(rounds) > 1 else said
        return f"{said} " + self.say.one_round.format(
            round=longest.round, source=longest.source, dest=longest.dest, share=self._share(rounds[longest])
        )

    def _by_rank(self) -> dict[int, float]:
        """Seconds on the path of each rank."""
        seconds: dict[int, float] = {}
        for step in self.found.steps:
            seconds[step.rank] = seconds.get(step.rank, 0.0) + step.seconds
        return seconds

    def _by_round(self) -> dict[Message, float]:
        """Seconds of each message on the path; the path has about one a round."""
        seconds: dict[Message, float] = {}
        for step in self.found.steps:
            if step.message is not None:
                seconds[step.message] = seconds.get(step.message, 0.0) + step.seconds
        return seconds

    def _contended(self) -> tuple[str, float] | None:
        """The link that delayed the path most, and by how many seconds."""
        delays = [step for step in self.found.steps if step.kind == "contention"]
        if math.fsum(step.seconds for step in delays) <= _WORTH_NAMING * self.run.seconds:
            return None
        use, topology, place = self.run.utilisation(_BINS), self.run.network.topology, self.run.network.place
        seconds: dict[int, float] = {}
        for step in delays:
            message = step.message
            assert message is not None
            first = min(_BINS - 1, int(message.start / self.run.seconds * _BINS))
            last = max(first + 1, math.ceil(message.sent / self.run.seconds * _BINS))
            route = topology.route(int(place[message.source]), int(place[message.dest]))
            busiest = max(route, key=lambda link: float(use[link, first:last].sum()))
            seconds[busiest] = seconds.get(busiest, 0.0) + step.seconds
        link = max(seconds, key=lambda each: seconds[each])
        begin, end = topology.ends[link].tolist()
        return f"{topology.label(begin)} → {topology.label(end)}", seconds[link]

    def _advice(self) -> Iterator[str]:
        """What would help against the terms that matter most."""
        run = self.run
        if run.bound and run.seconds < 1.1 * run.bound:
            yield self.say.close.format(share=self._share(run.seconds - run.bound))
            return
        carried = sum(message.nbytes for message in self.found.messages) / (run.nbytes or 1)
        encoding = run.network.model.encoding
        fewest = _fewest(run.algorithm, run.size) * (encoding.ratio if encoding else 1.0)
        for number, (kind, seconds) in enumerate(self.shares):
            if not number or seconds > _WORTH_ADVICE * run.seconds:
                yield self.say.advice[kind].format(
                    messages=len(self.found.messages), ranks=run.size, least=math.ceil(math.log2(run.size)),
                    times=self._number(carried), fewest=self._number(fewest),
                    less=self.say.less if carried > 1.05 * fewest else "",
                )  # fmt: skip

    def _share(self, seconds: float) -> str:
        return f"{self._number(100 * seconds / self.run.seconds)} %"

    def _seconds(self, seconds: float) -> str:
        unit, scale = next((pair for pair in _UNITS if pair[1] <= seconds), _UNITS[-1])
        return f"{self._number(seconds / scale)} {unit}"

    def _number(self, value: float) -> str:
        return f"{value:.3g}".replace(".", self.say.decimal) if value < 1000 else f"{value:.0f}"


def _fewest(algorithm: Algorithm, size: int) -> float:
    """How many times the vector must pass some rank in any algorithm for the same collective."""
    workers = size - algorithm.parameters["servers"] if algorithm.collective == "push_pull" else None
    return theory.bound(algorithm.collective, size, 1, alpha=0.0, beta=1.0, workers=workers)


def _nbytes(nbytes: int) -> str:
    unit, scale = next(((unit, scale) for unit, scale in _BYTES if nbytes and nbytes % scale == 0), ("B", 1))
    return f"{nbytes // scale} {unit}"
