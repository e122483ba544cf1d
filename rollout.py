"""Monte Carlo search, the reward of every token (paper, eq. 4); and BLEU, which can be a reward.
B = batch, N = any number, T = sequence length."""

import collections

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from dataloader import check_tokens, lengths
from generator import LSTM


class Rollout:
    """The rollout policy of a generator, and the rewards that it finds.

    The published program has a moving average here (update_rate 0.8), yet its rollouts always use
    the generator's present weights, because its sampling graph is built before the average. So an
    update_rate of 0, at which the policy is the generator itself, repeats what was published; one
    above 0 gives the lagging policy that its code describes.
    """

    def __init__(self, generator, update_rate=0.0):
        self.generator, self.update_rate = generator, update_rate
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
        for name, weight in self.policy.weights.items():
            r = 0.0 if name == "embeddings" else self.update_rate
            weight.assign(r * weight + (1 - r) * self.generator.weights[name])

    def get_reward(self, x, rollout_num, score):
        """Expected final score of every prefix of x, int [B, T] (paper, eq. 4); float32 [B, T].

        At t < T - 1 it is the mean score of rollout_num completions of x[:, :t + 1] by the policy,
        at T - 1 the score of x. score is a function from int32 [N, T] to float32 [N], such as
        Discriminator.prob_real.
        """
        x = check_tokens(x, self.policy.input_shape, self.policy.vocab_size)
        repeated, rewards = np.tile(x, [rollout_num, 1]), []
        bar = {"desc": "rollouts", "leave": False, "disable": None, "delay": 5}  # if it takes long
        for given in tqdm(range(1, self.policy.sequence_length), **bar):
            completed = self.policy.complete(repeated, given)
            scores = tf.reshape(score(completed), [rollout_num, -1])
            rewards.append(tf.reduce_mean(scores, axis=0))
        rewards.append(score(x))
        return tf.stack(rewards, axis=1)


class Bleu:
    """Sentence BLEU-n of sequences against all references, int [R, T] (Papineni et al., 2002).

    Orders 1 to n weigh alike; an order without a match counts a tenth of one (method1 of NLTK), and
    without a common token BLEU is 0. `end` and what follows it do not count.
    """

    def __init__(self, references, n, end=None):
        self.n, self.end = n, end
        self.lengths = collections.Counter()
        self.counts = {}  # {n-gram: its largest count in a reference, and the second largest}
        for row in self._rows(references):
            self.lengths[len(row)] += 1
            for gram, count in self._ngrams(row).items():
                first, second = self.counts.get(gram, (0, 0))
                self.counts[gram] = max(first, count), max(second, min(first, count))

    def __call__(self, x, among_references=False):
        """BLEU of each row of x, int [N, T], or of each reference among the others; float32 [N]."""
        return np.float32([self._score(row, among_references) for row in self._rows(x)])

    def _rows(self, x):
        return [row[:length] for row, length in zip(np.asarray(x).tolist(), lengths(x, self.end))]

    def _ngrams(self, row):
        """{n-gram: count} of all orders from 1 to n."""
        grams = collections.Counter()
        for order in range(1, self.n + 1):
            grams.update(tuple(row[k : k + order]) for k in range(len(row) - order + 1))
        return grams

    def _score(self, row, among_references):
        matches = np.zeros(self.n)
        for gram, count in self._ngrams(row).items():
            first, second = self.counts.get(gram, (0, 0))
            most = second if among_references and count == first else first
            matches[len(gram) - 1] += min(count, most)
        if matches[0] == 0:
            return 0.0
        possible = np.maximum(len(row) - np.arange(self.n), 1)
        precision = np.exp(np.mean(np.log(np.maximum(matches, 0.1) / possible)))

        others = self.lengths - collections.Counter([len(row)] if among_references else [])
        closest = min(others, key=lambda length: (abs(length - len(row)), length))
        return precision * np.exp(min(0, 1 - closest / len(row)))


def self_bleu(x, n, end=None):
    """Mean BLEU-n of the rows of x, int [N, T], each against the others (Zhu et al., 2018)."""
    return float(np.mean(Bleu(x, n, end)(x, among_references=True)))
