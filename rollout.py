"""Monte Carlo search, the reward of every token (paper, eq. 4); and BLEU, which can be a reward."""

import numpy as np
import tensorflow as tf

from dataloader import check_number, check_tokens, lengths
from generator import LSTM


class Rollout:
    """The rollout policy of a generator (itself at an update_rate of 0), and its rewards."""

    def __init__(self, generator, update_rate=0.0):
        check_number("update_rate", update_rate, 0, 1, (int, float))
        self.generator = generator
        self.update_rate = update_rate
        # The published program has a moving average here (r = 0.8), yet its rollouts always use the
        # generator's present weights, because its sampling graph is built before the average.
        # So 0 repeats what was published; r > 0 gives the lagging policy that its code describes.
        self.policy = generator
        if update_rate > 0:
            params = generator.get_params()
            self.policy = LSTM(params, generator.sequence_length, generator.start_token)
            self.policy.rng = generator.rng

    def reset(self):
        """Let the policy be the generator as it is now (paper, Algorithm 1: beta <- theta)."""
        self.policy.set_params(self.generator.get_params())

    def update_params(self):
        """Move the policy: w <- r w + (1 - r) w_generator; the embeddings are copied."""
        for w, new in zip(self.policy.weights, self.generator.weights):
            r = 0.0 if w is self.policy.embeddings else self.update_rate
            w.assign(r * w + (1 - r) * new)

    def get_reward(self, x, rollout_num, score):
        """Expected final score of every prefix of x, int [B, T] (paper, eq. 4); float32 [B, T].

        At t < T - 1 the mean score of rollout_num completions of x[:, :t + 1], at T - 1 that of x.
        score: function from int32 [M, T], any M, to float32 [M]; the probability of being real.
        """
        check_number("rollout_num", rollout_num, 1, 10**6)
        x = tf.constant(self.policy.check(x))
        state, scores = self.policy.start_state(len(x)), []
        # One state for all rollouts of a prefix saves 6 to 12 % of the time against one for each.
        for t in range(1, self.policy.sequence_length):
            state = self.policy.step(tf.gather(self.policy.embeddings, x[:, t - 1]), state)
            many = [tf.tile(value, [rollout_num, 1]) for value in (x, *state)]
            completed = self.policy.complete(many[0], t, many[1:])
            scores.append(tf.reduce_mean(tf.reshape(score(completed), [rollout_num, -1]), 0))
        return tf.stack([*scores, score(x)], 1)


class Bleu:
    """Sentence BLEU-n of sequences against all references, int [R, T] (Papineni et al., 2002).

    Orders 1 to n weigh alike, one without a match counts a tenth of one (NLTK's method1; without a
    common token BLEU is 0), and `end` and what follows it do not count.
    """

    def __init__(self, references, n, end=None):
        check_number("n", n, 1, 100)
        x = check_tokens(references, (None, None), 2**31, "references")
        self.n, self.end, self.base, self.known = n, end, int(x.max()) + 1, []
        self.lengths = np.bincount(lengths(x, end))  # how many references there are of each
        self.most = []
        for row, gram, count in self._counts(x):
            # The largest count of an n-gram in a reference, which that is, and the next largest.
            largest, holder, second = np.zeros([3, len(self.known[-1])], int)
            np.maximum.at(largest, gram, count)
            holder[gram[count == largest[gram]]] = row[count == largest[gram]]
            others = row != holder[gram]
            np.maximum.at(second, gram[others], count[others])
            self.most.append((largest, holder, second))

    def __call__(self, x, own=False):
        """BLEU of each row of x, int [N, T]; float32 [N].

        With own, x must be the references, and each row is held against the others alone.
        """
        x = check_tokens(x, (None, None), 2**31)
        length, matches, logs = lengths(x, self.end), [], []
        for k, (row, gram, count) in enumerate(self._counts(x)):
            largest, holder, second = (table[gram] for table in self.most[k])
            most = np.where(own & (holder == row), second, largest)
            matches.append(np.bincount(row, np.minimum(count, most), len(x)))
            logs.append(np.log(np.maximum(matches[k], 0.1) / np.maximum(length - k, 1)))
        mean = np.exp(np.mean(logs, 0))  # geometric
        return np.float32((matches[0] > 0) * self._brevity(length, own) * mean)

    def _counts(self, x):
        """For every order, of the n-grams in a reference: their row, number, count in the row."""
        inside = np.arange(x.shape[1]) < lengths(x, self.end)[:, None]
        x = np.where(inside & (x < self.base), x, -1)
        gram = np.ones_like(x, np.int64)
        for k in range(self.n):
            last, gram = x[:, k:], gram[:, : max(0, x.shape[1] - k)]
            key = np.where((gram > 0) & (last >= 0), gram * self.base + last, -1)
            if len(self.known) == k:
                self.known.append(np.union1d(key, -1))
            known = self.known[k]
            gram = np.searchsorted(known, key).clip(max=len(known) - 1)
            gram[known[gram] != key] = 0
            row, place = np.nonzero(gram)
            pairs, count = np.unique(row * len(known) + gram[row, place], return_counts=True)
            yield *np.divmod(pairs, len(known)), count

    def _brevity(self, lengths, own):
        """The brevity penalty of sequences of these lengths, by the closest reference length."""
        penalties = np.zeros(1 + lengths.max())
        for length in np.unique(lengths[lengths > 0]):
            there = self.lengths - own * (np.arange(len(self.lengths)) == length)
            closest = min(np.flatnonzero(there), key=lambda r: (abs(r - length), r))
            penalties[length] = np.exp(min(0, 1 - closest / length))
        return penalties[lengths]


def self_bleu(x, n, end=None):
    """Mean BLEU-n of the rows of x, int [N, T], each against the others (Zhu et al., 2018)."""
    check_number("rows of self_bleu", len(x), 2, 10**7)
    return float(np.mean(Bleu(x, n, end)(x, own=True)))
