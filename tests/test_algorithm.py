"""The algorithm as a whole, on an oracle so small that seconds suffice."""

import numpy as np
import reference

from dataloader import batches, labelled_batches
from discriminator import Discriminator
from generator import Generator
from rollout import Rollout
from target_lstm import TargetLSTM


def test_mle_lowers_the_nll_and_adversarial_training_lowers_it_further():
    vocab_size, emb_dim, hidden_dim, length = 30, 8, 8, 6
    params = reference.lstm_params(vocab_size, emb_dim, hidden_dim)
    oracle = TargetLSTM(params, length, seed=1)
    generator = Generator(vocab_size, emb_dim, hidden_dim, length, seed=2)
    discriminator = Discriminator(
        length, vocab_size, 16, [1, 2, 3], [64] * 3, learning_rate=2e-3, seed=3
    )
    rollout, rng = Rollout(generator), np.random.default_rng(0)

    def nll():
        return -reference.lstm_log_prob(params, generator.sample(2048).numpy()).mean()

    def train_discriminator(steps):
        positives, negatives = (model.sample(32 * steps).numpy() for model in (oracle, generator))
        for x, y in zip(*labelled_batches(positives, negatives, 64, rng)):
            discriminator.train_step(x, y)

    untrained = nll()
    for x in batches(np.tile(oracle.sample(640).numpy(), [4, 1]), 64):
        generator.pretrain_step(x)
    by_mle = nll()
    train_discriminator(300)
    adversarial = []
    for epoch in range(30):
        samples = generator.sample(64)
        rewards = rollout.get_reward(samples, 16, discriminator.prob_real)
        generator.reinforce_step(samples, rewards)
        train_discriminator(20)
        if epoch % 5 == 4:
            adversarial.append(nll())
    assert by_mle < untrained - 1
    assert np.mean(adversarial[-4:]) < by_mle - 0.03
