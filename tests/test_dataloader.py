"""Token files, batches and labels."""

import numpy as np
import pytest

from dataloader import batches, labelled_batches, read_tokens, write_tokens

T, V = 3, 20


def read(tmp_path, data):
    (tmp_path / "x.txt").write_bytes(data)
    return read_tokens(f"{tmp_path}/x.txt", T, V)


def test_a_file_has_one_sequence_a_line_in_decimal_separated_by_spaces(tmp_path):
    write_tokens(f"{tmp_path}/x.txt", np.array([[0, 19, 7], [1, 2, 3]]))
    assert (tmp_path / "x.txt").read_bytes() == b"0 19 7\n1 2 3\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "x.txt"]


def test_what_is_written_is_read_back(tmp_path):
    x = np.random.default_rng(0).integers(0, V, (50, T), np.int32)
    write_tokens(f"{tmp_path}/x.txt", x)
    np.testing.assert_array_equal(read_tokens(f"{tmp_path}/x.txt", T, V), x)


def test_blanks_at_the_end_and_foreign_line_ends_are_taken(tmp_path):
    expected = [[1, 2, 3], [4, 5, 6]]
    np.testing.assert_array_equal(read(tmp_path, b"1 2 3 \r\n4 5 6"), expected)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"x\.txt: expected a token file, found it empty"),
        (b"1 2 3\n1 2\n", r"x\.txt, line 2: expected 3 tokens, found 2"),
        (b"1 2 3 4\n", r"x\.txt, line 1: expected 3 tokens, found 4"),
        (b"1 2 3\n\n1 2 3\n", r"line 2: expected 3 tokens, found 0"),
        (b"1 x 3\n", r"line 1: expected tokens from 0 to 19, found 'x'"),
        (b"1 2.0 3\n", r"line 1: .* found '2\.0'"),
        (b"1 1_0 3\n", r"line 1: .* found '1_0'"),
        (b"1 2 3\n1 2 20\n", r"line 2: expected tokens from 0 to 19, found '20'"),
        (b"1 -2 3\n", r"line 1: .* found '-2'"),
        (b"1 2 \xff\n", r"line 1: .* found"),
        (b"1 2 99999999999999999999\n", r"line 1: .* found '99999999999999999999'"),
    ],
)
def test_bad_files_are_refused_by_file_line_and_finding(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, data)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.txt: expected a token file, found: No such file"):
        read_tokens(f"{tmp_path}/none.txt", T, V)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "x.txt"
    write_tokens(path, [[1, 2, 3]])

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space"):
        write_tokens(path, [[4, 5, 6]])
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
