"""What all SVG pictures share: themes, text, lines, and numbers to a hundredth of a pixel.

Everything neutral is drawn in ``currentColor``, so a page that embeds a picture (``theme="inherit"``) decides between
light and dark.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from experiments.draw.texts import Texts
from experiments.errors import UsageFault
from experiments.units import format_seconds

__all__ = ["WIDTH", "Canvas", "check_theme", "spaced"]

WIDTH = 1000.0
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
_STYLE = """
.ciranda-diagram { font-family: FONT; font-size: 12px; font-variant-numeric: tabular-nums; }
.ciranda-diagram text { fill: currentColor; }
.ciranda-diagram .title { font-size: 19px; font-weight: 700; }
.ciranda-diagram .muted { fill-opacity: .68; }
.ciranda-diagram .small { font-size: 10.5px; }
.ciranda-diagram .lane { stroke: currentColor; stroke-opacity: .28; }
.ciranda-diagram .grid { stroke: currentColor; stroke-opacity: .11; }
.ciranda-diagram .mark { stroke: currentColor; stroke-opacity: .6; stroke-dasharray: 4 3; fill: none; }
.ciranda-diagram .fold { fill: currentColor; fill-opacity: .5; }
.ciranda-diagram text.inside { fill: #fff; font-size: 10px; font-weight: 600; }
"""
_THEMES = {
    "auto": ".ciranda-diagram { color: #1b2230; }\n"
    "@media (prefers-color-scheme: dark) { .ciranda-diagram { color: #e6e9f0; } }\n",
    "light": ".ciranda-diagram { color: #1b2230; }\n",
    "dark": ".ciranda-diagram { color: #e6e9f0; }\n",
    "inherit": "",
}
_PAPER = {"light": "#ffffff", "dark": "#10151f"}


def check_theme(theme: str) -> None:
    """UsageFault for a theme that does not exist."""
    if theme not in _THEMES:
        raise UsageFault(f"no theme is called {theme!r}; use {', '.join(_THEMES)}")


class Canvas:
    """An SVG document of ``WIDTH`` by ``height`` units, with words in one language; ``label`` says what it shows."""

    def __init__(self, height: float, label: str, words: Texts) -> None:
        self.words = words
        self.root = ET.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "class": "ciranda-diagram",
                "viewBox": f"0 0 {WIDTH:g} {height:g}",
                "width": f"{WIDTH:g}",
                "height": f"{height:g}",
                "role": "img",
                "aria-label": label,
                "style": "max-width: 100%; height: auto",
            },
        )

    def begin(self, title: str, description: str, theme: str, style: str = "") -> None:
        """What is read aloud, the style with ``style`` added, and the paper of a fixed theme."""
        self.add("title").text = title
        self.add("desc").text = description
        self.add("style").text = _THEMES[theme] + _STYLE.replace("FONT", _FONT) + style
        if theme in _PAPER:
            self.add("rect", width="100%", height="100%", fill=_PAPER[theme])

    def document(self) -> str:
        """The picture as text."""
        return ET.tostring(self.root, encoding="unicode") + "\n"

    def add(self, tag: str, parent: ET.Element | None = None, **attributes: float | str) -> ET.Element:
        """A new element, in the picture itself if there is no ``parent``."""
        within = self.root if parent is None else parent
        return ET.SubElement(within, tag, {key: _plain(value) for key, value in attributes.items()})

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start") -> ET.Element:
        """A line of text whose foot is at ``y``."""
        element = self.add("text", x=x, y=y)
        element.text = text
        if style:
            element.set("class", style)
        if anchor != "start":
            element.set("text-anchor", anchor)
        return element

    def line(self, x0: float, y0: float, x1: float, y1: float, style: str) -> None:
        """A straight line."""
        self.add("line", x1=x0, y1=y0, x2=x1, y2=y1).set("class", style)

    def seconds(self, seconds: float) -> str:
        """``644 µs``, with the decimal sign of the language."""
        return spaced(format_seconds(seconds)).replace(".", self.words.decimal)


def spaced(text: str) -> str:
    """``1MiB`` as ``1 MiB`` and ``5us`` as ``5 µs``, as typography has it; what has no unit stays as it is."""
    digits = len(text) - len(text.lstrip("0123456789.,"))
    if not 0 < digits < len(text) or text[digits] == " ":
        return text
    return f"{text[:digits]}\u00a0{text[digits:]}".replace("us", "µs")


def _plain(value: float | str) -> str:
    """Numbers to a hundredth of a pixel."""
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")
