"""Texts, batches and files."""

import numpy as np
import pytest
import reference

from dataloader import InputError, Text, batches, labelled_batches, token_text, write_file


def make_text(folder, text, test=None, vocab_size=100, length=4):
    (folder / "text.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    if test is not None:
        (folder / "test.txt").write_text(test)
    test_file = folder / "test.txt" if test is not None else None
    return Text(folder / "text.txt", test_file, vocab_size, length, seed=0)


def test_words_become_numbers_the_frequent_ones_first_and_words_again(tmp_path, capsys):
    text = "the cat sat\n\n  the\tdog sat on the mat \r\nthe cat\n"
    data = make_text(tmp_path, text, "the bird sat\n", vocab_size=6)
    assert data.words == ["<end>", "<unknown>", "the", "cat", "sat", "dog"]
    np.testing.assert_array_equal(data.positives, [[2, 3, 4, 0], [2, 5, 4, 1], [2, 3, 0, 0]])
    np.testing.assert_array_equal(data.held_out, [[2, 1, 4, 0]])
    assert token_text(data.positives, data.words) == "the cat sat\nthe dog sat <unknown>\nthe cat\n"
    assert token_text([[2, 0, 3, 3]], data.words) == "the\n"
    said = capsys.readouterr().out
    assert "3 lines to learn, 1 held out, 1 cut" in said
    assert "3.7 words a line, 6 different ones" in said
    assert "11.1% unknown; VOCAB_SIZE = 8 would know all" in said


def test_a_tenth_is_held_out_by_the_seed_and_the_order_stays(tmp_path):
    lines = [f"w{number} x" for number in range(95)]
    data = make_text(tmp_path, "\n".join(lines))
    assert len(data.positives) == 85 and len(data.held_out) == 10
    learnt = token_text(data.positives, data.words).splitlines()
    assert learnt == [line for line in lines if line in learnt]
    assert token_text(data.held_out, data.words) == 10 * "<unknown> x\n"


BAD_TEXTS = {
    "not UTF-8": (b"one\ntw\xffo\n", None, r"text\.txt, line 2: expected UTF-8, found b'tw\\xffo'"),
    "empty": (b"\n \n", None, r"text\.txt: expected a text, found no words in it"),
    "one line": (b"one two\n", None, r"text\.txt: expected a line for each sequence, found one"),
    "nothing shared": (b"one two\n", "three\n", r"test\.txt: no word held out is among those to"),
    "marks": (b"a b\na <end> b\n", None, r"text\.txt, line 2: expected no <end>, as the"),
}


@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_texts_that_cannot_be_used_are_named(tmp_path, kind):
    text, test, message = BAD_TEXTS[kind]
    with pytest.raises(InputError, match=message):
        make_text(tmp_path, text, test)


def test_a_text_without_blanks_is_told_what_to_do_before_it_is_refused(tmp_path, capsys):
    with pytest.raises(InputError):
        make_text(tmp_path, "".join(f"C{n}N\n" for n in range(50)))
    said = capsys.readouterr().out
    assert "1.0 words a line" in said and "put blanks between them" in said


def test_marks_that_fill_lines_up_are_warned_of(tmp_path, capsys):
    padded = "a b <pad> <pad>\nb a <pad> <pad>\n" * 20
    make_text(tmp_path, padded)
    assert "Nearly every line ends in several '<pad>'" in capsys.readouterr().out
    make_text(tmp_path, padded.replace(" <pad> <pad>", " ."))
    assert "Nearly" not in capsys.readouterr().out


def test_batches_are_in_order_and_the_rest_is_dropped():
    x = np.arange(22).reshape(11, 2)
    np.testing.assert_array_equal(batches(x, 4), [x[:4], x[4:8]])


def test_positives_and_negatives_are_all_there_once_with_their_labels():
    positives, negatives = np.arange(24).reshape(12, 2), np.arange(100, 116).reshape(8, 2)
    x, y = labelled_batches(positives, negatives, 5, np.random.default_rng(0))
    assert x.shape == (4, 5, 2) and y.shape == (4, 5)
    assert sorted(x.reshape(-1, 2)[:, 0]) == [*range(0, 24, 2), *range(100, 116, 2)]
    np.testing.assert_array_equal(y, x[..., 0] < 100)


def test_the_shuffle_is_uniform():
    # Where the first positive lands: every place equally often.
    rng, places = np.random.default_rng(1), np.zeros(20)
    sequences = np.arange(10)[:, None]
    for _ in range(4000):
        x, _ = labelled_batches(sequences, sequences + 10, 20, rng)
        places[np.flatnonzero(x[0, :, 0] == 0)] += 1
    reference.assert_drawn_from(places, np.full(20, 1 / 20))


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    write_file(path, "1 2 3\n")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match=r"x\.txt: cannot be written: No space"):
        write_file(path, "4 5 6\n")
    assert path.read_bytes() == b"1 2 3\n" and list(tmp_path.iterdir()) == [path]
