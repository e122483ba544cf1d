"""Monte Carlo search: the reward of every token of an unfinished sequence (paper, eq. 4); and BLEU,
which measures finished sequences and can reward them.
"""

import numpy as np
import tensorflow as tf

from dataloader import InputError, check_number, check_tokens
from generator import LSTM


class Rollout:
    """The rollout policy and the rewards that it estimates.

    Args:
      generator: the generator whose sequences are to be rewarded.
      update_rate: r of update_params; 0 means the generator's present weights, always.
    """

    def __init__(self, generator, update_rate=0.0):
        check_number("update_rate", update_rate, 0, 1, (int, float))
        self.generator = generator
        self.update_rate = update_rate
        # The published program has a moving average here (r = 0.8), yet its rollouts always use the
        # generator's present weights, because its sampling graph is built before the average.
        # So 0 repeats what was published; r > 0 gives the lagging policy that its code describes.
        self.policy = generator
        if update_rate > 0:
            self.policy = LSTM(
                generator.get_params(), generator.sequence_length, generator.start_token
            )
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
        """Expected final score of every prefix of x (paper, eq. 4).

        Args:
          x: int [B, T], finished sequences.
          rollout_num: completions of every prefix, N in the paper.
          score: function from int32 [M, T] to float32 [M], any M; the probability of being real.

        Returns:
          float32 [B, T]: at t < T - 1 the mean score of rollout_num completions of x[:, :t + 1], at
          T - 1 the score of x itself.
        """
        check_number("rollout_num", rollout_num, 1, 10**6)
        x = tf.constant(self.policy.check(x))
        inputs = tf.gather(self.policy.embeddings, self.policy.inputs(x))
        state = self.policy.zero_state(len(x))
        scores = []
        # One state for all rollouts of a prefix saves 6 to 12 % of the time against one for each.
        for t in range(self.policy.sequence_length):
            state = self.policy.step(inputs[t], state)  # after t tokens
            if t > 0:
                many = [tf.tile(value, [rollout_num, 1]) for value in (x, *state)]
                completed = self.policy.complete(many[0], t, many[1:])
                scores.append(tf.reduce_mean(tf.reshape(score(completed), [rollout_num, -1]), 0))
        return tf.stack([*scores, score(x)], 1)


class Bleu:
    """Sentence BLEU-n of sequences, each against all references (Papineni et al., 2002).

    Orders 1 to n weigh alike, and an order without a match counts a tenth of one (NLTK's method1).

    Args:
      references: int [R, T].
      n: the highest order.
      end: the token from which on a sequence is left out; None leaves out nothing.
    """

    def __init__(self, references, n, end=None):
        check_number("n", n, 1, 100)
        x = check_tokens(references, (None, None), 2**31, "references")
        self.n, self.end, self.base = n, end, int(x.max()) + 1
        self.lengths = np.bincount(self._lengths(x))  # how many references there are of each
        self.known, self.most = [], []
        for grams, count in self._ngrams(x):
            # The largest count of an n-gram in a reference, which that is, and the next largest.
            row = np.broadcast_to(np.arange(len(x))[:, None], grams.shape)
            largest, holder, second = np.zeros([3, len(self.known[-1])], int)
            np.maximum.at(largest, grams, count)
            holder[grams[count == largest[grams]]] = row[count == largest[grams]]
            others = row != holder[grams]
            np.maximum.at(second, grams[others], count[others])
            self.most.append((largest, holder, second))

    def __call__(self, x, own=False):
        """BLEU of each row of x, int [N, T]; float32 [N].

        With own, x must be the references, and each row is held against the others alone.
        """
        x = check_tokens(x, (None, None), 2**31)
        lengths, row, logs = self._lengths(x), np.arange(len(x))[:, None], []
        for k, (grams, count) in enumerate(self._ngrams(x)):
            largest, holder, second = (table[grams] for table in self.most[k])
            most = np.where(holder == row, second, largest) if own else largest
            matches = np.sum((count <= most) & (grams > 0), 1)
            logs.append(np.log(np.maximum(matches, 0.1) / np.maximum(lengths - k, 1)))
            if k == 0:
                matched = matches > 0
        return np.float32(matched * self._brevity(lengths, own) * np.exp(np.mean(logs, 0)))

    def _lengths(self, x):
        return np.sum(np.cumsum(x == self.end, 1) == 0, 1)

    def _ngrams(self, x):
        """For every order: each row's n-grams, sorted, by number (0: in no reference); and which
        occurrence in its row each one is, from 1. Two arrays [N, T - order + 1]."""
        lengths, grams = self._lengths(x)[:, None], np.ones_like(x, np.int64)
        for k in range(self.n):
            last, prefix = x[:, k:], grams[:, : max(0, x.shape[1] - k)]
            valid = (prefix > 0) & (last < self.base) & (np.arange(last.shape[1]) + k < lengths)
            keys = np.where(valid, prefix * self.base + last, -1)
            if len(self.known) == k:
                self.known.append(np.union1d(keys, -1))
            place = np.searchsorted(self.known[k], keys).clip(max=len(self.known[k]) - 1)
            grams = np.where(self.known[k][place] == keys, place, 0)
            ordered, at = np.sort(grams, 1), np.arange(grams.shape[1])
            new = np.diff(ordered, axis=1, prepend=-1) > 0
            yield ordered, 1 + at - np.maximum.accumulate(np.where(new, at, 0), 1)

    def _brevity(self, lengths, own):
        """The brevity penalty of sequences of these lengths, by the closest reference length."""
        penalties = np.zeros(1 + lengths.max())
        for length in np.unique(lengths[lengths > 0]):
            there = self.lengths - own * (np.arange(len(self.lengths)) == length)
            closest = min(np.flatnonzero(there), key=lambda r: (abs(r - length), r))
            penalties[length] = np.exp(min(0, 1 - closest / length))
        return penalties[lengths]


def self_bleu(x, n, end=None):
    """Mean BLEU-n of each row of x, int [N, T], N > 1, against the others: diversity, the lower the
    more (Zhu et al., "Texygen", 2018)."""
    if len(x) < 2:
        raise InputError(f"self_bleu: expected two rows or more, found {len(x)}")
    return float(np.mean(Bleu(x, n, end)(x, own=True)))
