"""Monte Carlo search: the reward of every token of an unfinished sequence (paper, section 3.1)."""

import tensorflow as tf

from generator import LSTM


class Rollout:
    """The rollout policy and the rewards that it estimates.

    Args:
      generator: the generator whose sequences are to be rewarded.
      update_rate: r of update_params; 0 means the generator's present weights, always.
    """

    def __init__(self, generator, update_rate=0.0):
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

    def update_params(self):
        """Move the policy: w <- r w + (1 - r) w_generator; the embeddings are copied."""
        if self.update_rate == 0:
            return
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
        x = tf.convert_to_tensor(x, tf.int32)
        scores = score(self.complete(x, rollout_num))
        means = tf.reduce_mean(tf.reshape(scores, [-1, rollout_num, len(x)]), 1)  # [T - 1, B]
        return tf.concat([tf.transpose(means), score(x)[:, None]], 1)

    @tf.function
    def complete(self, x, rollout_num):
        """Complete every prefix of x, int32 [B, T], rollout_num times: [(T - 1) rollout_num B, T].

        Rows of one prefix length lie together, the shortest first. The state after a prefix is
        computed once for all its rollouts, and all prefixes advance together: at step t those of
        length t join the ones already under way.
        """
        policy, length = self.policy, x.shape[1]
        many = [rollout_num, 1]
        prefix = policy.step(policy.start(len(x)), policy.zero_state(len(x)))
        rows, state = tf.zeros([0, 1], tf.int32), policy.zero_state(0)
        for t in range(1, length):
            prefix = policy.step(tf.gather(policy.embeddings, x[:, t - 1]), prefix)
            state = [tf.concat([s, tf.tile(p, many)], 0) for s, p in zip(state, prefix)]
            rows = tf.concat([rows, tf.tile(x[:, :t], many)], 0)
            token = policy.draw(state[0])
            rows = tf.concat([rows, token[:, None]], 1)
            state = policy.step(tf.gather(policy.embeddings, token), state)
        return rows
