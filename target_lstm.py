"""The oracle (paper, "Synthetic Data Experiments"); run as a script, this file draws one."""

import numpy as np

from dataloader import InputError, prefixed
from generator import LSTM, param_shapes, read_model


class Oracle(LSTM):
    """A randomly initialised LSTM: its samples are the real data, and it judges the generator's.

    Args:
      path: its weights, as read_model takes them.
      sizes: V, E and H; InputError if the weights have others.
      sequence_length, start_token, seed: as in LSTM.
      num: how many sequences to draw for positives, and again for held_out, int32 [num, T].
    """

    end = None
    bleu_orders = (2,)
    logged = "nll_oracle"  # the measure that the log holds

    def __init__(self, path, sizes, sequence_length, start_token, num, seed):
        params, _ = read_model(path)
        with prefixed(path):
            super().__init__(params, sequence_length, start_token, seed=seed)
        if self.sizes != tuple(sizes):
            what = f"VOCAB_SIZE, EMB_DIM, HIDDEN_DIM of {tuple(sizes)}, found {self.sizes}"
            raise InputError(f"{path}: expected an oracle with {what}")
        self.num_eval = num  # sequences drawn for an evaluation
        # Divergence is told by the NLL of random tokens, which a sharp oracle has far above ln V.
        random = np.random.default_rng(seed).integers(0, self.vocab_size, [1280, sequence_length])
        self.nll_of_random_tokens = max(np.log(self.vocab_size), self.nll(random))
        self.positives = self.sample(num).numpy()
        self.held_out = self.sample(num).numpy()
        self.entropy = self.nll(self.held_out)

    def measure(self, generator, samples):
        """{name: value} of samples, int [N, T], of a generator G, in nats per token, O being this
        oracle: NLL under O = KL(G || O) + entropy of G; test NLL = KL(O || G) + entropy of O."""
        nll, entropy = self.nll(samples), generator.nll(samples)
        nll_test = generator.nll(self.held_out)
        return {
            "nll_oracle": nll,
            "nll_test": nll_test,
            "entropy": entropy,
            "kl_generator_oracle": nll - entropy,
            "kl_oracle_generator": nll_test - self.entropy,
        }


if __name__ == "__main__":  # for another oracle, change seed, sizes or path
    rng = np.random.default_rng(0)
    shapes = param_shapes(vocab_size=5000, emb_dim=32, hidden_dim=32)
    params = {name: rng.standard_normal(shape, np.float32) for name, shape in shapes.items()}
    np.savez("save/target_params.npz", **params)
    print("save/target_params.npz: an oracle, written")
