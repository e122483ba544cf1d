"""Token files and batches: how sequences reach the disk, come back, and are put before the models."""

import os

import numpy as np


class InputError(ValueError):
    """Something a person supplied (a file, a constant, an array) and can mend; the message says what."""


def write_file(path, data):
    """Replace the file at path by data (bytes) in one step: a reader sees all of it or none."""
    beside = f"{path}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError:
        if os.path.exists(beside):
            os.remove(beside)
        raise


def write_tokens(path, x):
    """Write sequences x, int [N, T], one a line, tokens in decimal separated by single spaces."""
    lines = (" ".join(map(str, row)) + "\n" for row in np.asarray(x).tolist())
    write_file(path, "".join(lines).encode())


def read_tokens(path, sequence_length, vocab_size):
    """Read a token file.

    Returns:
      int32 [N, T], N at least 1.

    Raises:
      InputError: missing or empty file, a line without exactly T words, a word that is no token in
        0..V-1; the message names file and line.
    """
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise InputError(f"{path}: expected a token file, found: {error.strerror}") from error
    if not lines:
        raise InputError(f"{path}: expected a token file, found it empty")
    x = np.empty([len(lines), sequence_length], np.int32)
    for number, line in enumerate(lines, 1):
        words = line.split()
        if len(words) != sequence_length:
            raise InputError(
                f"{path}, line {number}: expected {sequence_length} tokens, found {len(words)}"
            )
        for t, word in enumerate(words):
            # bytes.isdigit admits ASCII digits alone, where int() would also take 1_0 and +1.
            if not word.isdigit() or int(word) >= vocab_size:
                raise InputError(
                    f"{path}, line {number}: expected tokens from 0 to {vocab_size - 1}, "
                    f"found {word.decode(errors='replace')!r}"
                )
            x[number - 1, t] = int(word)
    return x


def batches(x, batch_size):
    """Cut x [N, ...] in order into [N // batch_size, batch_size, ...]; what is left over is dropped."""
    n = len(x) // batch_size
    return x[: n * batch_size].reshape(n, batch_size, *x.shape[1:])


def labelled_batches(positives, negatives, batch_size, rng):
    """Join real sequences (label 1) with generated ones (label 0) and shuffle them once.

    Args:
      positives, negatives: int32 [N, T] each, of any lengths.
      rng: numpy.random.Generator.

    Returns:
      x int32 [n, batch_size, T] and y int32 [n, batch_size].
    """
    x = np.concatenate([positives, negatives])
    y = np.repeat(np.int32([1, 0]), [len(positives), len(negatives)])
    order = rng.permutation(len(x))
    return batches(x[order], batch_size), batches(y[order], batch_size)


def check_arrays(arrays, shapes):
    """Check that arrays are finite floats of the expected shapes.

    Args:
      arrays: a sequence of arrays.
      shapes: {name: shape} in the same order.

    Returns:
      float32 arrays, in a list.

    Raises:
      InputError: names the first array that is wrong, what was expected and what came.
    """
    if len(arrays) != len(shapes):
        raise InputError(
            f"expected {len(shapes)} arrays ({', '.join(shapes)}), found {len(arrays)}"
        )
    checked = []
    for number, (array, (name, shape)) in enumerate(zip(arrays, shapes.items())):
        array, what = np.asarray(array), f"array {number} ({name})"
        if array.shape != tuple(shape):
            raise InputError(f"{what}: expected shape {list(shape)}, found {list(array.shape)}")
        if not np.issubdtype(array.dtype, np.floating):
            raise InputError(f"{what}: expected floating-point numbers, found {array.dtype}")
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise InputError(f"{what}: expected finite numbers, found NaN or infinity")
        checked.append(array)
    return checked
