"""Texts, batches and files."""

import os
import re
from os import rename

import experiment
import numpy as np
import pytest
import reference

from dataloader import InputError, Text, labelled_batches, naming, token_text, write_file


def make_text(folder, text, test=None, vocab_size=100, length=4, seed=0):
    (folder / "text.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    if test is not None:
        (folder / "test.txt").write_text(test)
    test_file = folder / "test.txt" if test is not None else None
    return Text(folder / "text.txt", test_file, vocab_size, length, seed)


def test_words_become_numbers_the_frequent_ones_first_and_words_again(tmp_path, capsys):
    text = "the cat sat\n\n  the\tdog sat on the mat \r\nthe cat\n"
    data = make_text(tmp_path, text, "the bird sat\n", vocab_size=6)
    assert data.words == ["<end>", "<unknown>", "the", "cat", "sat", "dog"]
    np.testing.assert_array_equal(data.positives, [[2, 3, 4, 0], [2, 5, 4, 1], [2, 3, 0, 0]])
    np.testing.assert_array_equal(data.held_out, [[2, 1, 4, 0]])
    assert data.measure(type("Sum", (), {"nll": np.sum}), [[9]]) == {"nll_test": 7, "entropy": 9}
    assert token_text(data.positives, data.words) == "the cat sat\nthe dog sat <unknown>\nthe cat\n"
    assert token_text([[2, 0, 3, 3]], data.words) == "the\n"
    said = capsys.readouterr().out
    assert "3 lines to learn, 1 held out\n" in said and "1 lines are cut, 8% is padding." in said
    assert "2 of 6 words are unknown, 18.2% of the text" in said and "VOCAB_SIZE = 8" in said


def test_a_tenth_is_held_out_by_the_seed_and_the_order_stays(tmp_path):
    lines = [f"w{number} x" for number in range(95)]
    held_out = set()
    for seed in (0, 0, 1):
        data = make_text(tmp_path, "\ufeff" + "\n".join(lines), seed=seed)
        assert len(data.positives) == 85 and len(data.held_out) == 10
        learned = token_text(data.positives, data.words).splitlines()
        assert learned == [line for line in lines if line in learned]
        assert token_text(data.held_out, data.words) == 10 * "<unknown> x\n"
        held_out.add(frozenset(lines) - frozenset(learned))
    assert len(held_out) == 2


def test_a_line_of_a_file_named_as_an_argument_keeps_its_name():
    with pytest.raises(InputError, match=r"^seed, line 2"), naming([], ["SEED"]):
        raise InputError("seed, line 2: expected UTF-8")
    for name in ("SEED", "GEN_SEED"):
        with pytest.raises(InputError, match=f"^{name}: expected"), naming(["GEN_"], [name]):
            raise InputError("seed: expected a number")


BAD_TEXTS = [
    ("\n \n", None, "text.txt: expected a text, found no words in it"),
    ("one two\n", None, "text.txt: expected a line for each sequence, found one"),
    ("one two\n", "three\n", "test.txt: no word held out is among those to learn"),
    ("a b\na <end> b\n", None, "text.txt, line 2: expected no <end>, which is added"),
]


@pytest.mark.parametrize(("text", "test", "message"), BAD_TEXTS)
def test_texts_that_cannot_be_used_are_named(tmp_path, text, test, message):
    reference.assert_refused(lambda: make_text(tmp_path, text, test), f"{tmp_path}/{message}")


LINES = [f"a{n} b c{n % 7} d" for n in range(60)]
REPORTS = [  # text, test text, what is said of it; None: nothing but its size
    ([f"a{n} ." for n in range(60)] + ["a b c d e f"], None, None),  # as long as SEQ_LENGTH
    (["weather", "news", "maps"] * 20, None, "51 of the lines to learn are repeats"),
    ([f"C{n}N" for n in range(50)], "C1N C2N C3N", "README.md, 'A text of your own', shows how"),
    ([f"{line} e f g" for line in LINES], None, "60 lines are cut, 0% is padding. SEQ_LENGTH = 7"),
    (["a"] * 20, None, "0 lines are cut, 67% is padding. SEQ_LENGTH = 1 holds the longest"),
    (LINES, "\n".join(LINES[:30]), "30 of the held-out lines are also among those to learn"),
    ([f"<s> {line}" for line in LINES], None, "Nearly every line begins with '<s>'"),
    ([f"{line} </s>" for line in LINES], None, "Nearly every line ends in '</s>'"),
]


@pytest.mark.parametrize(("lines", "test", "said"), REPORTS)
def test_what_is_noteworthy_of_a_text_is_said(tmp_path, capsys, lines, test, said):
    make_text(tmp_path, "\n".join(lines), test, length=6)
    size, *notes = capsys.readouterr().out.splitlines()
    assert re.search(r"text\.txt: \d+ lines to learn, \d+ held out$", size)
    notes = "\n".join(line for line in notes if "unknown" not in line and "VOCAB" not in line)
    assert said in notes if said else notes == ""
    assert ("README" in notes) == ("C1N" in lines)


def test_characters_come_back_with_their_blanks_as_the_readme_says(tmp_path):
    names = {"text": "the cat\nsat\u3000\n"}
    exec(experiment.recipe("characters = "), names)
    data = make_text(tmp_path, names["characters"] * 10, length=8)
    names["shown"] = token_text(data.positives, data.words)
    exec(experiment.recipe("plain = "), names)
    assert set(names["plain"].split("\n")) == {"the cat", "sat ", ""}


def test_sequences_are_shuffled_uniformly_with_their_labels_and_a_remainder_is_dropped():
    rng, places = np.random.default_rng(1), np.zeros(19)
    sequences = np.arange(20).reshape(10, 2)
    for _ in range(4000):
        x, y = labelled_batches(sequences, sequences + 20, 6, rng)
        assert x.shape == (3, 6, 2) and y.shape == (3, 6)
        np.testing.assert_array_equal(y, x[..., 0] < 20)
        first = x.reshape(18, 2)[:, 0]
        assert len(set(first)) == 18
        places[np.flatnonzero(first == 0) if 0 in first else 18] += 1
    reference.assert_drawn_from(places, [1 / 20] * 18 + [2 / 20])
    with pytest.raises(InputError, match=r"^batch_size: expected a whole number from 1"):
        labelled_batches(sequences, sequences, 0, rng)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path, order = tmp_path / "x.txt", []
    with monkeypatch.context() as watched:
        watched.setattr("os.fsync", lambda file: order.append(os.fstat(file).st_size))
        watched.setattr("os.replace", lambda *names: order.append("replaced") or rename(*names))
        write_file(path, "1 2 3\n")
    assert order == [6, "replaced"]

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=r"x\.txt: cannot be written: No space"):
        write_file(path, "4 5 6\n")
    assert path.read_bytes() == b"1 2 3\n" and list(tmp_path.iterdir()) == [path]
