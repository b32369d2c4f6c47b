"""Write what the documents say about algorithms from the catalogue: ``python docs/generate.py`` (``--check`` compares).

It fills the tables between the ``<!-- algorithms -->`` marks of the READMEs, writes ``docs/algorithms.md`` whole and
draws ``docs/images/ring.svg``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from collectives import catalogue
from experiments import draw
from simulator import networks

ROOT = Path(__file__).resolve().parent.parent
MARK = "<!-- algorithms -->"
HEADINGS = {
    "en": ("algorithm", "rounds", "bytes sent by the busiest rank (units of n)", "operation", "source"),
    "pt": ("algoritmo", "rodadas", "bytes enviados pelo rank mais ocupado (em unidades de n)", "operação", "fonte"),
}
ORDER = {
    "en": {True: "commutative", False: "any"},
    "pt": {True: "comutativa", False: "qualquer"},
}

LEGEND = (
    "In the formulas p is the number of ranks, q = ⌈lg p⌉, f = ⌊lg p⌋, k the segments (or servers), l the ranks of a "
    "node; bytes are in units of n, the whole vector. Tests evaluate each formula and compare it with what the prover "
    "derives from the schedule."
)


def table(collective: str, language: str) -> str:
    """A Markdown table of one collective's algorithms."""
    rows = [HEADINGS[language], ("---",) * len(HEADINGS[language])]
    for name in catalogue.names(collective):
        algorithm = catalogue.get(name)
        facts = algorithm.facts
        rows.append(
            (
                f"`{name}`",
                f"`{facts['Rounds']}`",
                f"`{facts['Bytes per rank']}`",
                ORDER[language][algorithm.commutative],
                algorithm.source,
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def filled(document: str, language: str) -> str:
    """``document`` with the table between its two marks made anew."""
    before, _, after = document.split(MARK)
    return f"{before}{MARK}\n{table('allreduce', language)}\n{MARK}{after}"


def algorithms_page() -> str:
    """All collectives, with what each algorithm does."""
    parts = [
        "# Algorithms",
        "Generated from the catalogue by `python docs/generate.py`; do not edit.",
        LEGEND,
    ]
    for collective in catalogue.collectives():
        parts += [f"## {collective}", table(collective, "en")]
        for name in catalogue.names(collective):
            summary = (catalogue.get(name).function.__doc__ or "").split("\n", 1)[0]
            parts.append(f"- `{name}`: {summary}")
    return "\n\n".join(parts).replace("\n\n- ", "\n- ") + "\n"


def picture() -> str:
    """A ring allreduce of four ranks and 1 MiB on a 10 Gbit/s star, as it was simulated."""
    return draw.svg(catalogue.get("ring"), 4, 1 << 20, networks.star(4, latency=5e-6, bandwidth=1.25e9))


def documents() -> dict[Path, str]:
    """Every generated document with the text that it should have."""
    english, portuguese = ROOT / "README.md", ROOT / "README.pt-BR.md"
    return {
        english: filled(english.read_text(encoding="utf-8"), "en"),
        portuguese: filled(portuguese.read_text(encoding="utf-8"), "pt"),
        ROOT / "docs" / "algorithms.md": algorithms_page(),
        ROOT / "docs" / "images" / "ring.svg": picture(),
    }


def main() -> int:
    """Write the documents, or with ``--check`` say which are out of date (exit code 1)."""
    checking = "--check" in sys.argv[1:]
    stale = {path: text for path, text in documents().items() if not path.exists() or path.read_text("utf-8") != text}
    for path, text in stale.items():
        if not checking:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'out of date, run python docs/generate.py' if checking else 'written'}")
    return 1 if stale and checking else 0


if __name__ == "__main__":
    sys.exit(main())
