"""The READMEs' words, links, tables and light commands; tests/test_readme.py has those that want the machine."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.readme import DEMANDING, ROOT, blocks, commands, run_well

READMES = ("README.md", "README.pt-BR.md")
DOCUMENTS = [ROOT / name for name in READMES] + sorted((ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("words", [words for words in commands("README.md") if words[1] not in DEMANDING], ids=" ".join)
def test_each_light_command_of_the_readme_runs(words: list[str], tmp_path: Path) -> None:
    run_well(words, tmp_path)


def test_the_example_is_ten_lines() -> None:
    code = [line for line in blocks("README.md", "python")[0].splitlines() if line.strip()]
    assert len(code) <= 10


def test_both_languages_show_the_same_commands_and_code() -> None:
    def code(name: str) -> list[str]:
        return [re.sub(r"\s*#.*", "", block) for block in blocks(name, "python")]

    assert commands(READMES[0]) == commands(READMES[1])
    assert code(READMES[0]) == code(READMES[1])


def test_generated_documents_are_up_to_date() -> None:
    documents = runpy.run_path(str(ROOT / "docs" / "generate.py"))["documents"]()
    stale = [str(path) for path, text in documents.items() if path.read_text(encoding="utf-8") != text]
    assert not stale, "run python docs/generate.py"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (document.parent / target).exists()]
    assert not missing
