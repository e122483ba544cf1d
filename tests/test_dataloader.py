"""Files, batches and labels."""

import os

import numpy as np
import pytest

from dataloader import (
    InputError,
    batches,
    keep_aside,
    labelled_batches,
    read_corpus,
    token_text,
    write_file,
)


def test_tokens_are_text_in_decimal_a_sequence_a_line():
    assert token_text(np.array([[0, 19, 7], [1, 2, 3]])) == "0 19 7\n1 2 3\n"


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    write_file(path, "1 2 3\n")

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_file(path, "4 5 6\n")
    assert path.read_bytes() == b"1 2 3\n" and list(tmp_path.iterdir()) == [path]


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
    # Where the first positive lands: every place equally often, by chi-square over 20 places.
    rng, places, draws = np.random.default_rng(1), np.zeros(20), 4000
    sequences = np.arange(10)[:, None]
    for _ in range(draws):
        x, _ = labelled_batches(sequences, sequences + 10, 20, rng)
        places[np.flatnonzero(x[0, :, 0] == 0)] += 1
    expected = draws / 20
    assert ((places - expected) ** 2 / expected).sum() < 19 + 4 * np.sqrt(2 * 19) + 8


@pytest.mark.parametrize("kind", ["a folder", "a link", "a link to nothing", "a pipe"])
def test_what_is_no_plain_file_is_neither_replaced_nor_moved(tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "save").mkdir()
    path, other = tmp_path / "save/real_data.txt", tmp_path / "other.txt"
    other.write_text("mine")
    make = {
        "a folder": path.mkdir,
        "a link": lambda: path.symlink_to(other),
        "a link to nothing": lambda: path.symlink_to("nowhere"),
        "a pipe": lambda: os.mkfifo(path),
    }
    make[kind]()
    before = os.lstat(path)
    for touch in (lambda: write_file("save/real_data.txt", "x"), lambda: keep_aside([path])):
        with pytest.raises(InputError, match=r"real_data\.txt: expected a plain file or nothing"):
            touch()
    assert os.lstat(path) == before and other.read_text() == "mine"
    assert list((tmp_path / "save").iterdir()) == [path]


def test_kept_files_meet_no_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "save/checkpoint").mkdir(parents=True)
    for number in range(3):
        for name in ("a.txt", "checkpoint/a.index"):
            (tmp_path / "save" / name).write_text(f"{number}")
        keep_aside(["save/a.txt", "save/b.txt", "save/checkpoint/a.index"], "now")
    for number, folder in enumerate(("run-now", "run-now-too", "run-now-too-too")):
        for name in ("a.txt", "checkpoint/a.index"):
            assert (tmp_path / "save" / folder / name).read_text() == f"{number}"


def corpus(tmp_path, text, test=None, vocab_size=100, length=4):
    (tmp_path / "text.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    if test is not None:
        (tmp_path / "test.txt").write_text(test, encoding="utf-8")
    files = f"{tmp_path}/text.txt", f"{tmp_path}/test.txt" if test is not None else None
    return read_corpus(*files, vocab_size, length, np.random.default_rng(0))


def test_words_become_numbers_the_frequent_ones_first_and_words_again(tmp_path, capsys):
    text = "the cat sat\n\n  the\tdog sat on the mat \r\nthe cat\n"
    words, x, held_out = corpus(tmp_path, text, "the bird sat\n", vocab_size=6)
    assert words == ["<end>", "<unknown>", "the", "cat", "sat", "dog"]
    np.testing.assert_array_equal(x, [[2, 3, 4, 0], [2, 5, 4, 1], [2, 3, 0, 0]])
    np.testing.assert_array_equal(held_out, [[2, 1, 4, 0]])
    assert token_text(x, words) == "the cat sat\nthe dog sat <unknown>\nthe cat\n"
    assert token_text([[2, 0, 3, 3]], words) == "the\n"
    said = capsys.readouterr().out
    assert (
        "3 lines to learn, 1 held out, 1 empty, 1 cut\n  to 4 words; 4 words known, 11.1%" in said
    )


def test_the_names_of_end_and_unknown_are_no_words_of_a_text(tmp_path):
    words, x, _ = corpus(tmp_path, "a <unknown> a <end> b\n", "a\n")
    assert words == ["<end>", "<unknown>", "a", "b"]
    np.testing.assert_array_equal(x, [[2, 1, 2, 1]])  # a line is ended by its end alone


def test_a_tenth_is_held_out_by_the_generator_given_and_the_order_stays(tmp_path):
    lines = [f"w{number} x" for number in range(95)]
    text = "\n".join(lines)
    words, x, held_out = corpus(tmp_path, text)
    assert len(x) == 85 and len(held_out) == 10
    learnt = token_text(x, words).splitlines()
    assert learnt == [line for line in lines if line in learnt]  # held-out words are unknown
    assert token_text(held_out, words).splitlines() == ["<unknown> x"] * 10


@pytest.mark.parametrize(
    ("text", "test", "message"),
    [
        (b"one\ntw\xffo\n", None, r"text\.txt, line 2: expected UTF-8, found b'tw\\xffo'"),
        (b"", None, r"text\.txt: expected a text, found no words in it"),
        (b"\n \n", None, r"text\.txt: expected a text, found no words in it"),
        (b"one two\n", "three\n", r"test\.txt: expected held-out lines that share words"),
    ],
)
def test_texts_that_cannot_be_used_are_named(tmp_path, text, test, message):
    with pytest.raises(InputError, match=message):
        corpus(tmp_path, text, test)


def test_files_beside_an_output_are_left_alone(tmp_path):
    other, path = tmp_path / "other.txt", tmp_path / "x.txt"
    other.write_text("mine")
    (tmp_path / "x.txt.tmp").symlink_to(other)
    write_file(path, "1 2 3\n")
    assert path.read_text() == "1 2 3\n" and not path.is_symlink()
    assert other.read_text() == "mine" and (tmp_path / "x.txt.tmp").is_symlink()
