"""Data: a text of one's own, batches, BLEU, checks, files. N = any number, T = sequence length."""

import collections
import contextlib
import importlib
import itertools
import numbers
import os
import sys
from pathlib import Path

import numpy as np

# TensorFlow reads these when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
# A notebook sets this for the commands that it starts. If their Python lacks that backend, Keras
# cannot be imported: then matplotlib is left to choose one.
if "MPLBACKEND" in os.environ and "matplotlib" not in sys.modules:
    backend = os.environ.pop("MPLBACKEND")
    with contextlib.suppress(Exception):
        import matplotlib

        if backend.startswith("module://"):
            importlib.import_module(backend.removeprefix("module://"))
        matplotlib.rcParams["backend"] = backend
        os.environ["MPLBACKEND"] = backend

END, UNKNOWN = 0, 1  # numbers of the two marks that are added to the words of a text
MARKS = ["<end>", "<unknown>"]


class WriteError(OSError):
    """A file cannot be written; the message says which, and why."""


class InputError(ValueError):
    """What a person supplied (a file, a constant, an array) is not usable; the message says why."""


class DivergenceError(ArithmeticError):
    """A measure of a run is no number, or far too large; the message says which."""


@contextlib.contextmanager
def prefixed(what):
    """Put before the message of an InputError what it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from None


class Text:
    """A text in place of the oracle: a sequence a line, blanks between its words.

    END ends a line and fills it up. UNKNOWN stands for words that are not among the vocab_size - 2
    most frequent ones, or not in `words`, those of a trained generator, if given. Without a
    test_file a tenth of the lines, drawn by the seed, is held out. words[k] is word k; positives
    and held_out are the lines, int32 [N, T]. Raises InputError.
    """

    end = END
    bleu_orders = (2, 3, 4, 5)
    num_eval = 1000  # sequences drawn for an evaluation
    logged = "nll_test"  # the measure that the log holds

    def __init__(self, text_file, test_file, vocab_size, sequence_length, seed, words=None):
        check_numbers(3, 10**7, vocab_size=vocab_size)
        check_numbers(1, 10**7, sequence_length=sequence_length)
        lines = read_lines(text_file)
        if test_file:
            test = read_lines(test_file)
        else:
            held = np.random.default_rng(seed).permutation(len(lines)) < len(lines) / 10
            test = list(itertools.compress(lines, held))
            lines = list(itertools.compress(lines, ~held))
        if not lines:
            raise InputError(f"{text_file}: expected a line for each sequence, found one line")

        counts = collections.Counter(itertools.chain.from_iterable(lines))
        frequent = [word for word, _ in counts.most_common(vocab_size - len(MARKS))]
        self.words = words or MARKS + frequent
        self.vocab_size = len(self.words)
        self.nll_of_random_tokens = np.log(self.vocab_size)
        self.positives = self._numbers(lines, sequence_length)
        self.held_out = self._numbers(test, sequence_length)
        self._report(text_file, lines, test, counts)
        if (self.positives <= UNKNOWN).all():
            raise InputError(f"{text_file}: none of its words is among those known")
        if (self.held_out <= UNKNOWN).all():
            raise InputError(f"{test_file or text_file}: no word held out is among those to learn")

    def _numbers(self, lines, sequence_length):
        number = {word: n for n, word in enumerate(self.words)}
        x = np.full([len(lines), sequence_length], END, np.int32)
        for row, line in zip(x, lines):
            row[: len(line)] = [number.get(word, UNKNOWN) for word in line[:sequence_length]]
        return x

    def _report(self, path, lines, test, counts):
        """Print how many lines there are, and what else is worth knowing of the text."""
        print(f"{path}: {len(lines)} lines to learn, {len(test)} held out")
        length = self.positives.shape[1]
        line_lengths = [len(line) for line in lines + test]
        cut = sum(number > length for number in line_lengths)
        padding = np.mean(np.arange(length) > lengths(self.positives, END)[:, None])
        if cut or padding > 0.5:
            print(f"  {cut} lines are cut, {padding:.0%} is padding.", end=" ")
            print(f"The longest line has {max(line_lengths)} words; SEQ_LENGTH is {length}.")
        unknown = set(counts).difference(self.words)
        if unknown:
            share = sum(counts[word] for word in unknown) / sum(counts.values())
            print(f"  {len(unknown)} of {len(counts)} words are unknown, {share:.1%} of the text.")
        longer = [line for line in lines if len(line) > 1]
        for a, b, end in (0, 1, "begin"), (-1, -2, "end"):
            ends = collections.Counter(line[a] for line in lines)
            runs = collections.Counter(line[a] for line in longer if line[a] == line[b])
            for word, count in ends.items():
                if count > max(10, 0.9 * len(lines)) or runs[word] > max(10, 0.1 * len(lines)):
                    print(f"  {count} lines {end} with {word!r}: a mark or padding? Leave it out.")

    def measure(self, generator, samples):
        """{name: value} in nats per token; samples, int [N, T], are the generator's own."""
        return {"nll_test": generator.nll(self.held_out), "entropy": generator.nll(samples)}


def read_lines(path):
    """The words of each line of a text in UTF-8; empty lines are left out."""
    lines = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        try:
            words = line.decode("utf-8-sig").split()
        except UnicodeDecodeError:
            raise InputError(f"{path}, line {number}: expected UTF-8, found {line!r:.60}") from None
        if b"\0" in line:
            what = f"expected UTF-8, found bytes of 0, as UTF-16 has them: {line!r:.60}"
            raise InputError(f"{path}, line {number}: {what}")
        marks = sorted(set(MARKS) & set(words))
        if marks:
            raise InputError(f"{path}, line {number}: expected no {marks[0]}, which is added")
        if words:
            lines.append(words)
    if not lines:
        raise InputError(f"{path}: expected a text, found no words in it")
    return lines


def token_text(x, words=None):
    """Sequences x, int [N, T], one a line: in decimal, or in words, each up to its first END."""
    lines = []
    for row in np.asarray(x).tolist():
        if words:
            row = [words[token] for token in itertools.takewhile(lambda token: token != END, row)]
        lines.append(" ".join(map(str, row)) + "\n")
    return "".join(lines)


def lengths(x, end):
    """The number of tokens before the first `end`, if any, of each row of x [N, T]; [N]."""
    x = np.asarray(x)
    if end is None:
        return np.full(len(x), x.shape[1])
    return np.sum(np.cumsum(x == end, axis=1) == 0, axis=1)


def pieces(x, size):
    """Cut x [N, ...] in order into pieces of so many rows; the last one may be shorter."""
    return [x[start : start + size] for start in range(0, len(x), size)]


def labelled_batches(positives, negatives, batch_size, rng):
    """Real sequences (label 1) and generated ones (0), int32 [N, T] each, shuffled once by rng:
    x int32 [n, batch_size, T] and y int32 [n, batch_size]; a remainder is dropped."""
    check_numbers(1, len(positives) + len(negatives), batch_size=batch_size)
    x = np.concatenate([positives, negatives])
    y = np.repeat(np.int32([1, 0]), [len(positives), len(negatives)])
    n = len(x) // batch_size
    order = rng.permutation(len(x))[: n * batch_size]
    return x[order].reshape(n, batch_size, -1), y[order].reshape(n, batch_size)


class Bleu:
    """Sentence BLEU of sequences against all references, int [R, T] (Papineni et al., 2002).

    Orders 1 to n weigh alike; an order without a match counts a tenth of one (method1 of NLTK), and
    without a common token BLEU is 0. end: END for a text; it and what follows it do not count, and
    UNKNOWN, which stands for many words, matches nothing. None: every token counts.
    """

    def __init__(self, references, n, end=None):
        check_numbers(1, 100, n=n)
        references = check_tokens(references, (None, None), 2**31, "references")
        self.n, self.end = n, end
        unknown = None if end is None else UNKNOWN  # None is in no n-gram.
        self.reference_lengths = collections.Counter()
        self.counts = {}  # {n-gram: its largest count in a reference, and the second largest}
        for row in self._rows(references):
            self.reference_lengths[len(row)] += 1
            for gram, count in self._ngrams(row).items():
                if unknown in gram:
                    continue
                first, second = self.counts.get(gram, (0, 0))
                self.counts[gram] = max(first, count), max(second, min(first, count))

    def __call__(self, x, among_references=False):
        """BLEU-n of each row of x, int [N, T]; float32 [N]. among_references: x has the references
        themselves, and each is compared with the others."""
        return self.orders(x, among_references)[:, -1]

    def orders(self, x, among_references=False):
        """BLEU-1 to BLEU-n of each row of x, int [N, T]; float32 [N, n]."""
        x = check_tokens(x, (None, None), 2**31)
        return np.float32([self._scores(row, among_references) for row in self._rows(x)])

    def _rows(self, x):
        return [row[:length] for row, length in zip(np.asarray(x).tolist(), lengths(x, self.end))]

    def _ngrams(self, row):
        """{n-gram: count} of all orders from 1 to n."""
        grams = collections.Counter()
        for order in range(1, self.n + 1):
            grams.update(tuple(row[k : k + order]) for k in range(len(row) - order + 1))
        return grams

    def _scores(self, row, among_references):
        matches = np.zeros(self.n)
        for gram, count in self._ngrams(row).items():
            first, second = self.counts.get(gram, (0, 0))
            most = second if among_references and count == first else first  # not its own count
            matches[len(gram) - 1] += min(count, most)
        if matches[0] == 0:
            return matches
        possible = np.maximum(len(row) - np.arange(self.n), 1)
        logs = np.log(np.maximum(matches, 0.1) / possible)
        precisions = [np.exp(np.mean(logs[:order])) for order in range(1, self.n + 1)]

        own = collections.Counter([len(row)] if among_references else [])
        others = self.reference_lengths - own
        closest = min(others, key=lambda length: (abs(length - len(row)), length))
        return np.multiply(precisions, np.exp(min(0, 1 - closest / len(row))))


def self_bleu(x, n, end=None):
    """Mean BLEU-n of the rows of x, int [N, T], each against the others (Zhu et al., 2018)."""
    if len(x) < 2:
        raise InputError(f"x: expected two sequences or more, found {len(x)}")
    return float(np.mean(Bleu(x, n, end)(x, among_references=True)))


def check_numbers(least, most, /, whole=True, **values):
    """Raise InputError naming the first value that is no (whole) number from least to most."""
    what = "a whole number" if whole else "a number"
    for name, value in values.items():
        fits = isinstance(value, numbers.Integral if whole else numbers.Real)
        if not fits or isinstance(value, bool) or not least <= value <= most:
            found = " ".join(repr(value).split())  # a line of it
            raise InputError(f"{name}: expected {what} from {least} to {most}, found {found:.50}")


def as_array(x, what):
    """x as a NumPy array; InputError if it cannot be one."""
    try:
        return np.asarray(x)
    except ValueError:
        raise InputError(f"{what}: expected rows of one length, found several") from None
    except Exception as error:  # of another library, as PyTorch's "Can't call numpy()"
        found = f"a {type(x).__name__}: {error}".split("\n")[0]
        raise InputError(f"{what}: expected an array, found {found}") from None


def check_tokens(x, shape, number, what="x"):
    """x as int32; InputError unless integers from 0 to number - 1 of this shape (None: any size but
    0)."""
    x = as_array(x, what)
    fits = x.dtype.kind in "iu" and x.ndim == len(shape) and x.size > 0
    for found, expected in zip(x.shape, shape):
        if expected not in (None, found):
            fits = False
    if not fits:
        raise InputError(f"{what}: expected integers of shape {shape}, found {x.dtype} {x.shape}")
    for extreme in (x.min(), x.max()):
        if not 0 <= extreme < number:
            expected = f"integers from 0 to {number - 1}"
            raise InputError(f"{what}: expected {expected}, found {extreme}")
    return x.astype(np.int32, copy=False)


def check_floats(x, shape, what):
    """x as float32; InputError unless finite floating-point numbers of this shape."""
    x = as_array(x, what)
    if x.shape != tuple(shape):
        raise InputError(f"{what}: expected shape {tuple(shape)}, found {x.shape}")
    with np.errstate(over="ignore"):  # a float64 can be too large for float32
        fits = x.dtype.kind == "f" and np.isfinite(x.astype(np.float32)).all()
    if not fits:
        raise InputError(f"{what}: expected finite floating-point numbers, found others")
    return np.float32(x)


def write_file(path, data):
    """Replace a file by text or bytes in one step: whatever happens, it is the old or the new."""
    beside = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.tmp")
    try:
        with open(beside, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(beside)
        raise WriteError(f"{path}: cannot be written: {error.strerror}") from error
