"""Texts, batches and files."""

import os
import re
import resource

import experiment
import numpy as np
import pytest
import reference

from dataloader import Bleu, Text, labelled_batches, self_bleu, token_text, write_file


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
    assert data.nll_of_random_tokens == pytest.approx(np.log(6))
    said = capsys.readouterr().out
    assert "3 lines to learn, 1 held out\n" in said and "1 lines are cut, 8% is padding." in said
    assert "2 of 6 words are unknown, 18.2% of the text" in said


@pytest.mark.parametrize("backend", ["none", "module://none.at_all", "", "svg"])
def test_a_backend_of_matplotlib_that_is_not_here_is_left_out(backend):
    script = "import dataloader, os, matplotlib.pyplot; print(os.environ.get('MPLBACKEND'))"
    done = experiment.run(experiment.ROOT, "-c", script, env={**os.environ, "MPLBACKEND": backend})
    assert done[0].strip() == (backend if backend == "svg" else "None")


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


BAD_TEXTS = [
    ("\n \n", None, "text.txt: expected a text, found no words in it"),
    ("one two\n", None, "text.txt: expected a line for each sequence, found one"),
    ("one two\n", "three\n", "test.txt: no word held out is among those to learn"),
    ("a b\n".encode("utf-16-le"), None, "text.txt, line 1: expected UTF-8, found bytes of 0"),
    ("a b\na <end> b\n", None, "text.txt, line 2: expected no <end>, which is added"),
]


@pytest.mark.parametrize(("text", "test", "message"), BAD_TEXTS)
def test_texts_that_cannot_be_used_are_named(tmp_path, text, test, message):
    reference.assert_refused(lambda: make_text(tmp_path, text, test), f"{tmp_path}/{message}")


LINES = [f"a{n} b c d{n}" for n in range(60)]
REPORTS = [  # text, test text, what is said of it; None: nothing but its size
    ([f"a{n} b c{n}" for n in range(60)] + ["a b c d e f"], None, None),  # as long as SEQ_LENGTH
    ([f"2 {line}" for line in LINES], None, "54 lines begin with '2': a mark or padding? Leave"),
    ([*LINES[:40], *["a 0 0"] * 15], LINES[0], "15 lines end with '0': a mark or padding? Leave"),
]


@pytest.mark.parametrize(("lines", "test", "said"), REPORTS)
def test_what_is_noteworthy_of_a_text_is_said(tmp_path, capsys, lines, test, said):
    make_text(tmp_path, "\n".join(lines), test, length=6)
    size, *notes = capsys.readouterr().out.splitlines()
    assert re.search(r"text\.txt: \d+ lines to learn, \d+ held out$", size)
    notes = "\n".join(line for line in notes if "unknown" not in line)
    assert notes.strip().startswith(said) and "\n" not in notes if said else notes == ""


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
    reference.assert_refused(lambda: labelled_batches(x, y, 0, rng), "batch_size: expected a whole")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path, order = tmp_path / "x.txt", []
    with monkeypatch.context() as watched:
        watched.setattr("os.fsync", lambda file: order.append(os.fstat(file).st_size))
        watched.setattr("os.replace", lambda *names: order.append("replaced") or os.rename(*names))
        write_file(path, "1 2 3\n")
    assert order == [6, "replaced"]

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3, before[1]))  # a disk that is full after 3 bytes
    try:
        with pytest.raises(OSError, match=r"x\.txt: cannot be written: File too large$"):
            write_file(path, "4 5 6\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"1 2 3\n" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("end", [None, 0])
def test_bleu_and_self_bleu_are_nltk_s(n, end):
    rng = np.random.default_rng(n)
    for _ in range(25):  # lengths below n, and tokens that are in no reference, among them
        r, num, t, other_t = rng.integers([1, 2, 1, 1], 8)
        references = rng.integers(0, rng.integers(2, 7), (r, t))
        x = rng.integers(0, rng.integers(2, 9), (num, other_t))
        expected = [reference.nltk_bleu(references, x, order + 1, end) for order in range(n)]
        np.testing.assert_allclose(Bleu(references, n, end).orders(x).T, expected, atol=1e-6)
        np.testing.assert_allclose(Bleu(references, n, end)(x), expected[-1], atol=1e-6)
        others = (np.delete(x, row, axis=0) for row in range(num))
        bleus = [reference.nltk_bleu(o, [row], n, end) for o, row in zip(others, x)]
        np.testing.assert_allclose(self_bleu(x, n, end), np.mean(bleus), atol=1e-6)
