"""The authors' program and this one from the same weights on the same data, for 1,100 steps.

The figures in authors_figures.json are of the authors' sources (commit e2b52fb), run on
TensorFlow's version-1 interface without dropout: 300 steps of MLE, 200 of policy gradient and 600
of the discriminator. They hold losses, how far each weight array moved from its start, and the
probabilities of being real that the trained discriminator gives to every 64th sequence.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import reference

from discriminator import Discriminator
from generator import Generator

FIGURES = json.loads((Path(__file__).parent / "authors_figures.json").read_text())
VOCAB_SIZE, LENGTH, BATCH, LSTM_SIZE, CNN_EMBEDDING = 200, 8, 64, 32, 16
FILTER_SIZES, NUM_FILTERS = [1, 2, 3, 8], [20, 20, 20, 10]
MLE_STEPS, POLICY_STEPS, CNN_STEPS = 300, 200, 600
SEQUENCES = 640  # real ones, and as many generated ones


def cnn_weights(random):
    weights = [random.uniform(-1, 1, (VOCAB_SIZE, CNN_EMBEDDING))]
    for size, number in zip(FILTER_SIZES, NUM_FILTERS):
        filters = random.standard_normal((size, CNN_EMBEDDING, 1, number))
        weights += [0.1 * np.clip(filters, -2, 2), np.full(number, 0.1)]
    features = sum(NUM_FILTERS)
    limit = np.sqrt(3 / features)
    for _ in range(2):  # the highway layer's two branches
        weights.append(random.uniform(-limit, limit, (features, features)))
        weights.append(random.uniform(-limit, limit, features))
    weights += [0.1 * random.standard_normal((features, 2)), np.full(2, 0.1)]
    return [np.float32(weight) for weight in weights]


@pytest.fixture(scope="module")
def inputs():
    """Weights, tokens, rewards and orders: each draw of `random` in the order of the original."""
    random = np.random.RandomState(7)
    shapes = reference.lstm_shapes(VOCAB_SIZE, LSTM_SIZE, LSTM_SIZE)
    made = {"lstm": [np.float32(0.1 * random.standard_normal(shape)) for shape in shapes]}
    made["cnn"] = cnn_weights(random)
    frequency = 1 / np.arange(1, VOCAB_SIZE + 1)
    cumulated = np.cumsum(frequency / frequency.sum())
    real = np.searchsorted(cumulated, random.uniform(size=(SEQUENCES, LENGTH)))
    real = real.clip(max=VOCAB_SIZE - 1)
    shift = real[random.permutation(SEQUENCES)], random.randint(0, 5, (SEQUENCES, LENGTH))
    made["real"], made["generated"] = real, sum(shift) % VOCAB_SIZE
    sizes = np.geomspace(1, 1e-4, POLICY_STEPS)
    rewards = random.uniform(size=(POLICY_STEPS, BATCH, LENGTH)) * sizes[:, None, None]
    made["rewards"] = np.float32(rewards)
    epochs = CNN_STEPS * BATCH // (2 * SEQUENCES)
    orders = [random.permutation(2 * SEQUENCES) for _ in range(epochs)]
    made["orders"] = np.concatenate(orders).reshape(CNN_STEPS, BATCH)
    return made


def assert_losses(losses, expected):
    found = [losses[int(step)] for step in expected]
    np.testing.assert_allclose(found, list(expected.values()), rtol=1e-4)


def assert_moved(params, start, expected):
    found = [np.linalg.norm(np.float64(p) - q) for p, q in zip(params, start, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_generator_s_two_updates_go_where_the_authors_go(inputs):
    generator = Generator(VOCAB_SIZE, LSTM_SIZE, LSTM_SIZE, LENGTH)
    generator.set_params(inputs["lstm"])
    real, generated = (inputs[name].reshape(-1, BATCH, LENGTH) for name in ("real", "generated"))

    losses = [float(generator.pretrain_step(real[n % len(real)])) for n in range(MLE_STEPS)]
    assert_losses(losses, FIGURES["mle_loss"])
    assert_moved(generator.get_params(), inputs["lstm"], FIGURES["mle_moved"])

    losses = []
    for n, rewards in enumerate(inputs["rewards"]):
        losses.append(float(generator.reinforce_step(generated[n % len(generated)], rewards)))
    assert_losses(losses, FIGURES["pg_loss"])
    assert_moved(generator.get_params(), inputs["lstm"], FIGURES["pg_moved"])


def test_the_discriminator_goes_where_the_authors_goes(inputs):
    sizes = LENGTH, VOCAB_SIZE, CNN_EMBEDDING, FILTER_SIZES, NUM_FILTERS
    discriminator = Discriminator(*sizes, dropout_keep_prob=1.0, learning_rate=1e-3)
    for weight, value in zip(discriminator.weights.values(), inputs["cnn"], strict=True):
        weight.assign(value)
    x = np.concatenate([inputs["real"], inputs["generated"]])
    y = np.repeat([1, 0], SEQUENCES)

    losses = discriminator.train_steps(x[inputs["orders"]], y[inputs["orders"]])
    assert_losses(losses, FIGURES["dis_loss"])
    assert_moved(reference.params_of(discriminator), inputs["cnn"], FIGURES["dis_moved"])
    np.testing.assert_allclose(discriminator.prob_real(x[::64]), FIGURES["prob_real"], rtol=1e-4)
