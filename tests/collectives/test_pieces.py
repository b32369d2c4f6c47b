"""Messages cut into pieces: nothing lost, nothing twice, and every piece that touches a span is known."""

from hypothesis import given
from hypothesis import strategies as st

from collectives.executors import pieces
from collectives.executors.pieces import Cover
from collectives.executors.plan import Span


@st.composite
def messages(draw: st.DrawFn) -> list[Span]:
    """Disjoint spans of two buffers, in any order."""
    spans: list[Span] = []
    for buffer in range(2):
        cuts = sorted(draw(st.sets(st.integers(0, 40), max_size=8)))
        spans += [(buffer, lo, hi) for lo, hi in zip(cuts[::2], cuts[1::2], strict=False)]
    return draw(st.permutations(spans))


def listed(spans: list[Span] | tuple[Span, ...]) -> list[tuple[int, int]]:
    return [(buffer, index) for buffer, lo, hi in spans for index in range(lo, hi)]


@given(messages(), st.integers(1, 9))
def test_the_pieces_are_the_message(spans: list[Span], largest: int) -> None:
    whole = listed(spans)
    found = pieces.cut(spans, len(whole), largest)
    assert [element for piece in found for element in listed(piece.spans)] == whole
    for index, piece in enumerate(found):
        assert (piece.lo, piece.hi) == (index * largest, min((index + 1) * largest, len(whole)))
        assert len(listed(piece.spans)) == piece.hi - piece.lo
    assert len(found) == max(1, -(-len(whole) // largest))


@given(messages(), st.integers(1, 9), st.integers(0, 1), st.integers(0, 40), st.integers(1, 40))
def test_the_last_piece_that_touches_a_span(spans: list[Span], largest: int, buffer: int, lo: int, length: int) -> None:
    found = pieces.cut(spans, len(listed(spans)), largest)
    span = (buffer, lo, lo + length)
    touching = [index for index, piece in enumerate(found) if set(listed(piece.spans)) & set(listed([span]))]
    assert Cover(found).last(span) == max(touching, default=-1)


def test_both_ends_cut_by_bytes() -> None:
    assert [pieces.elements(itemsize, 64) for itemsize in (1, 8, 12, 100)] == [64, 8, 5, 1]
