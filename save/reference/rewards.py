"""What does the discriminator of the run in save/ take for real? From the project's root:

python save/reference/rewards.py

Prints, for the real sequences that it was trained on, for real ones that it has not seen, and for
new ones of the generator: the share with a probability of being real above one half, the mean
probability, and the share of all probability that the hundred most probable ones have.
"""

import os
import sys

import numpy as np

sys.path.insert(0, ".")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import measure

import sequence_gan
from dataloader import read_checkpoint
from discriminator import Discriminator
from generator import Generator
from rollout import Rollout


def main():
    c = measure.read_settings()
    data = measure.load_data(c)
    sizes = data.vocab_size, c["EMB_DIM"], c["HIDDEN_DIM"]
    generator = Generator(*sizes, c["SEQ_LENGTH"], c["START_TOKEN"])
    discriminator = Discriminator(
        c["SEQ_LENGTH"],
        data.vocab_size,
        c["DIS_EMBEDDING_DIM"],
        c["DIS_FILTER_SIZES"],
        c["DIS_NUM_FILTERS"],
    )
    policy = Rollout(generator, c["ROLLOUT_UPDATE_RATE"]).policy
    models = {"generator": generator, "discriminator": discriminator, "policy": policy}
    _, arrays = read_checkpoint("save/checkpoint.npz")
    for variable, array in zip(sequence_gan.all_variables(**models), arrays, strict=True):
        variable.assign(array)

    print("sequences,taken_for_real,mean_probability,share_of_the_best_100")
    sets = {"real, trained on": data.positives, "real, new": data.held_out}
    sets["generated"] = generator.sample(len(data.positives)).numpy()
    for name, x in sets.items():
        p = np.sort(discriminator.prob_real(x).numpy())
        row = np.mean(p > 0.5), np.mean(p), p[-100:].sum() / p.sum()
        print(f'"{name}"', *(f"{value:.4g}" for value in row), sep=",")


if __name__ == "__main__":
    main()
