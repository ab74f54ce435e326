"""How well text is cut into sentences, beside libraries that do it.

    python -m benchmarks.sentences [--json FILE] [--quick] [--failures]

`sentence_corpus/` has what telephone agents say in two dozen languages, with the places where it is
to be cut. Each utterance is cut twice: once as a whole, and once as it comes from a model, one
character at a time. A library that knows no streams is asked about the text so far again
and again, and all of its sentences but the last count as complete. Libraries are told the language;
`Sentences` is not.

The figures do not depend on the machine. The exit status is 1 if `Sentences` misses a goal.
"""

import argparse
import hashlib
import importlib.metadata
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, TypeAlias

from rich.console import Console
from rich.table import Table

from mediaserver.agents.conversing.abbreviations import GO_ON
from mediaserver.agents.conversing.sentences import Sentences


CORPUS: Final = Path(__file__).parent / "sentence_corpus"
GOAL: Final = 98.0
CUT, MAY_CUT = "‖", "¦"
OURS = "mediaserver"

# Ways in which a text may go on. If none of them can change the first piece, it is due.
PROBES: Final = (
    *" \n.,?!…:;)]}\"'”»*_`aA1é。”」",
    *(" a", " A", " 1", " »", " (", "ly b", "Boston. It", " Boston, it", "e"),
    *(f"{word[begun:]} x" for begun in range(3) for word in sorted(GO_ON)),
)

Splitter: TypeAlias = Callable[[str, str], Sequence[str]]


@dataclass(frozen=True)
class SaidByAgent:
    """An utterance of the corpus.

    Attributes:
        text: what the model writes.
        written: the same with its marks.
        spoken: what is said, with the same marks.
        held_back: whether rules were written without looking at it.

    """

    language: str
    kind: str
    text: str
    written: str
    spoken: str
    held_back: bool


@dataclass
class Score:
    """How often a splitter was right.

    Attributes:
        utterances: the number of utterances.
        right: of these, the ones that were cut exactly where they are to be cut.
        sentences: the number of sentences.
        sentences_right: of these, the ones that came out alone and whole.
        streamed_right: utterances that were cut right one character at a time.
        several: utterances of several sentences that were cut right.
        in_time: of these, the ones whose first piece came out with the first letter of the second
            sentence, or sooner.
        latest: characters after that letter, in the worst case.
        overdue: how many of the first pieces came out later than they could: the text before could
            not have gone on in any way that changes them. Known only of `Sentences`.

    """

    utterances: int = 0
    right: int = 0
    sentences: int = 0
    sentences_right: int = 0
    streamed_right: int = 0
    several: int = 0
    in_time: int = 0
    latest: int = 0
    overdue: int = 0


def corpus() -> Iterator[SaidByAgent]:
    """Yield the utterances of all languages."""
    for path in sorted(CORPUS.glob("*.txt")):
        for line in path.read_text(encoding="utf-8").splitlines():
            kind, written, spoken, *_ = (*line.replace("\\n", "\n").split("\t"), "")
            text = _unmarked(written)
            digest = hashlib.sha256(text.encode()).hexdigest()
            held_back = int(digest, 16) % 5 == 0
            yield SaidByAgent(path.stem, kind, text, written, spoken or written, held_back)


def cut_right(marked: str, pieces: Iterable[str]) -> tuple[bool, int, int]:
    """Compare pieces with a text that has marks; white space does not count.

    Returns:
        Whether all cuts are right, the number of sentences, and how many of them came out alone.

    """
    wanted, allowed, length = {0}, set(), 0
    for letter in "".join(marked.split()):
        if letter == CUT:
            wanted.add(length)
        elif letter == MAY_CUT:
            allowed.add(length)
        else:
            length += 1
    wanted.add(length)
    bare = ["".join(piece.split()) for piece in pieces]
    if "".join(bare) != "".join(_unmarked(marked).split()):
        return False, len(wanted) - 1, 0
    found = {sum(map(len, bare[:count])) for count in range(len(bare) + 1)}
    edges = sorted(wanted)
    alone = sum(
        {start, end} <= found and not {each for each in found if start < each < end} - allowed
        for start, end in pairwise(edges)
    )
    return wanted <= found <= wanted | allowed, len(wanted) - 1, alone


def splitters() -> tuple[dict[str, Splitter], list[str]]:
    """Return the libraries that are installed, and why others are left out."""
    found: dict[str, Splitter] = {}
    missing = []
    for name, make in (
        ("sentencex", _sentencex),
        ("pysbd", _pysbd),
        ("syntok", _syntok),
        ("icu4py", _icu),
    ):
        try:
            found[f"{name} {importlib.metadata.version(name)}"] = make()
        except ImportError:
            missing.append(f"{name} is not installed: pip install {name}")
    return found, missing


def _sentencex() -> Splitter:
    import sentencex

    return lambda language, text: list(sentencex.segment(language, text))


def _pysbd() -> Splitter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # it was written for Python 3.6
        import pysbd
        from pysbd.languages import LANGUAGE_CODES

    made = {code: pysbd.Segmenter(language=code, clean=False) for code in LANGUAGE_CODES}
    return lambda language, text: list(made.get(language, made["en"]).segment(text))


def _syntok() -> Splitter:
    from syntok import segmenter

    def split(language: str, text: str) -> list[str]:
        return [
            "".join(token.spacing + token.value for token in sentence)
            for paragraph in segmenter.process(text)
            for sentence in paragraph
        ]

    return split


def _icu() -> Splitter:
    from icu4py.breakers import SentenceBreaker

    return lambda language, text: list(SentenceBreaker(text, f"{language}@ss=standard"))


def score_ours(utterances: Iterable[SaidByAgent], failures: list[str]) -> Score:
    """Score `Sentences`, without cuts at commas."""
    score = Score()
    for said in utterances:
        sentences = Sentences(first=None)
        right, count, alone = cut_right(
            said.spoken, pieces := sentences.feed(said.text) + sentences.flush()
        )
        streamed: list[str] = []
        first = None
        for place, letter in enumerate(said.text):
            streamed += sentences.feed(letter)
            if first is None and streamed:
                first = place
        _add(score, said, right, count, alone, first)
        score.overdue += first is not None and _is_decided(said.text[:first], streamed[0])
        score.streamed_right += cut_right(said.spoken, streamed + sentences.flush())[0]
        if not right:
            failures.append(f"{said.language}: {' | '.join(pieces)}")
    return score


def _is_decided(text: str, first: str) -> bool:
    """Whether the first piece is known, however the text goes on."""
    for probe in PROBES:
        sentences = Sentences(first=None)
        pieces = sentences.feed(text + probe) + sentences.flush()
        if not pieces or pieces[0].strip() != first.strip():
            return False
    return True


def score_theirs(utterances: Iterable[SaidByAgent], split: Splitter, *, streaming: bool) -> Score:
    """Score a library."""
    score = Score()
    for said in utterances:
        right, count, alone = cut_right(said.written, split(said.language, said.text))
        first, complete = None, 0
        taken_back = False
        out: list[str] = []
        for place in _places_that_matter(said.text) if streaming else ():
            pieces = split(said.language, said.text[:place])
            taken_back |= pieces[:complete] != out
            if len(pieces) - 1 > complete:
                complete = len(pieces) - 1
                out = list(pieces[:complete])
                first = place - 1 if first is None else first
        _add(score, said, right, count, alone, first)
        score.streamed_right += right and not taken_back
    return score


def _places_that_matter(text: str) -> Iterator[int]:
    """Yield the places at which a splitter may learn something: not within words."""
    for place in range(1, len(text) + 1):
        if not text[max(0, place - 2) : place].isalnum():
            yield place


def _add(
    score: Score, said: SaidByAgent, right: bool, count: int, alone: int, first: int | None
) -> None:
    score.utterances += 1
    score.right += right
    score.sentences += count
    score.sentences_right += alone
    if count > 1 and right:
        ended = len(_unmarked(said.written[: said.written.index(CUT)]))
        due = next(place for place in range(ended, len(said.text)) if said.text[place].isalnum())
        late = (len(said.text) if first is None else first) - due
        score.several += 1
        score.in_time += late <= 0
        score.latest = max(score.latest, late)


def _unmarked(text: str) -> str:
    return text.replace(CUT, "").replace(MAY_CUT, "")


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def table(scores: dict[str, dict[str, Score]], *, streaming: bool) -> Table:
    made = Table(title="Cut into sentences", title_justify="left")
    for heading in (
        "", "utterances", "right", "held back", "sentences", "held back", "streamed", "at once"
    ):  # fmt: skip
        made.add_column(heading, justify="right" if heading else "left")
    for name, parts in scores.items():
        seen, held_back = parts["seen"], parts["held back"]
        total = seen.utterances + held_back.utterances
        theirs = name == OURS or streaming
        made.add_row(
            name,
            str(total),
            _percent(seen.right + held_back.right, total),
            _percent(held_back.right, held_back.utterances),
            _percent(
                seen.sentences_right + held_back.sentences_right,
                seen.sentences + held_back.sentences,
            ),
            _percent(held_back.sentences_right, held_back.sentences),
            _percent(seen.streamed_right + held_back.streamed_right, total) if theirs else "-",
            _percent(seen.in_time + held_back.in_time, seen.several + held_back.several)
            if theirs
            else "-",
        )
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sentences", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    parser.add_argument(
        "--quick", action="store_true", help="ask the libraries only about whole utterances"
    )
    parser.add_argument(
        "--failures", action="store_true", help="print what is cut wrong, but nothing held back"
    )
    options = parser.parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    utterances = list(corpus())
    parts = {
        "seen": [said for said in utterances if not said.held_back],
        "held back": [said for said in utterances if said.held_back],
    }
    failures: list[str] = []
    scores = {
        OURS: {
            name: score_ours(part, failures if name == "seen" else [])
            for name, part in parts.items()
        }
    }
    libraries, missing = splitters()
    for name, split in libraries.items():
        scores[name] = {
            part: score_theirs(said, split, streaming=not options.quick)
            for part, said in parts.items()
        }
    console.print(table(scores, streaming=not options.quick))
    for line in missing:
        console.print(f"! {line}")
    if options.failures:
        console.print(*failures, sep="\n", markup=False, highlight=False)
    ours = scores[OURS]
    console.print(
        f"The first piece of {OURS} came at most {max(score.latest for score in ours.values())} "
        "characters after the first letter of the second sentence. "
        f"{sum(score.overdue for score in ours.values())} came later than they could."
    )
    if options.json is not None:
        figures: dict[str, Any] = {
            name: {part: asdict(score) for part, score in both.items()}
            for name, both in scores.items()
        }
        options.json.write_text(json.dumps(figures, indent=2))
    reached = [
        100 * score.sentences_right / score.sentences >= GOAL
        and score.streamed_right == score.right
        and not score.overdue
        for score in ours.values()
    ]
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
