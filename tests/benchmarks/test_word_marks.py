from audiocodecs import MULAW_8K
from benchmarks.servers.word_marks import FRAME, marked_word, word_marks_in


def test_words_are_told_from_each_other_after_a_phone_has_said_them() -> None:
    audio = b"".join(marked_word(number) for number in (7, 8))
    said = MULAW_8K.encode(MULAW_8K.decode(audio))
    marks = [(number, ended) for number, ended, _ in word_marks_in(said)]
    assert marks == [(7, False), (7, True), (8, False), (8, True)]
    assert all(at % FRAME == 0 for _, _, at in word_marks_in(said))
