"""Monte Carlo search (paper, eq. 3 and 4). B = batch, N = any number, T = sequence length."""

import numpy as np
from tqdm import tqdm

from dataloader import check_floats, check_numbers, check_tokens
from generator import LSTM, Fixed


class Rollout(Fixed):
    """The rollout policy of a generator, and the rewards that it finds.

    At an update_rate of 0 the policy is the generator itself. In effect it is so in the published
    program: its moving average is never used, as the sampling graph was built before it. Above 0
    the policy lags behind, as that program's code describes.
    """

    def __init__(self, generator, update_rate=0.0):
        check_numbers(0, 1, whole=False, update_rate=update_rate)
        self.generator = generator
        self.update_rate = update_rate
        self.policy = generator
        if update_rate > 0:
            self.policy = LSTM(
                params=generator.get_params(),
                sequence_length=generator.sequence_length,
                start_token=generator.start_token,
                words=generator.words,
                rng=generator.rng,  # one stream, which the generator's state() has
            )

    def state(self):
        """{name: tf.Variable} of the policy's own weights; none where it is the generator."""
        return {} if self.policy is self.generator else dict(self.policy.weights)

    def reset(self):
        """Copy the generator's weights into the policy (paper, Algorithm 1: beta <- theta)."""
        if self.policy is not self.generator:
            self.policy.set_params(self.generator.get_params())

    def update_params(self):
        """Move the policy: w <- r w + (1 - r) w_generator; the embeddings are copied."""
        if self.policy is self.generator:
            return
        for name, weight in self.policy.weights.items():
            r = 0.0 if name == "embeddings" else self.update_rate
            weight.assign(r * weight + (1 - r) * self.generator.weights[name])

    def get_reward(self, x, rollout_num, score):
        """Expected final score of every prefix of x, int [B, T] (paper, eq. 4); float32 [B, T].

        At t < T - 1 it is the mean score of rollout_num completions of x[:, :t + 1] by the policy,
        at T - 1 the score of x. score is a function from int32 [N, T] to float [N], such as
        Discriminator.prob_real; InputError if it returns anything else.
        """
        check_numbers(1, 10**7, rollout_num=rollout_num)
        x = check_tokens(x, self.policy.input_shape, self.policy.vocab_size)
        repeated = np.tile(x, [rollout_num, 1])
        rewards = []
        bar = {"desc": "rollouts", "leave": False, "disable": None, "delay": 5}  # if it takes long
        for given in tqdm(range(1, self.policy.sequence_length), **bar):
            completed = self.policy.complete(repeated, given)
            scores = check_floats(score(completed), [len(completed)], "the score of x")
            rewards.append(np.mean(scores.reshape(rollout_num, -1), axis=0))
        rewards.append(check_floats(score(x), [len(x)], "the score of x"))
        return np.stack(rewards, axis=1)
