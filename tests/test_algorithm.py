"""Start here: the algorithm as a whole, on an oracle so small that seconds suffice."""

import numpy as np
import reference

from dataloader import labelled_batches, pieces
from discriminator import Discriminator
from generator import LSTM, Generator
from rollout import Rollout

V, E, H, T = 30, 8, 8, 6


def test_mle_lowers_the_nll_and_adversarial_training_lowers_it_further():
    params = reference.lstm_params(V, E, H)
    oracle = LSTM(params, T, seed=1)
    generator = Generator(V, E, H, T, seed=2)
    discriminator = Discriminator(T, V, 16, [1, 2, 3], [64] * 3, learning_rate=2e-3, seed=3)
    rollout = Rollout(generator)
    rng = np.random.default_rng(0)

    def nll():
        return -reference.lstm_log_prob(params, generator.sample(2048).numpy()).mean()

    def train_discriminator(steps):
        real, generated = (model.sample(32 * steps).numpy() for model in (oracle, generator))
        discriminator.train_steps(*labelled_batches(real, generated, 64, rng))

    untrained = nll()
    for x in pieces(np.tile(oracle.sample(640).numpy(), [4, 1]), 64):
        generator.pretrain_step(x)
    by_mle = nll()
    assert by_mle < untrained - 1

    train_discriminator(300)
    adversarial = []
    for epoch in range(30):
        samples = generator.sample(64)
        rewards = rollout.get_reward(samples, 16, discriminator.prob_real)
        generator.reinforce_step(samples, rewards)
        train_discriminator(20)
        if epoch % 5 == 4:
            adversarial.append(nll())
    assert np.mean(adversarial[-4:]) < by_mle - 0.03
