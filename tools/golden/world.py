"""A small model that has learnt nothing, for learners that ask one in their updates: its parameters are part of the recording."""

import numpy as np
import torch
from torch.nn.functional import softplus

from fixture import single

OBS, ACT = 3, 2
MEMBERS, UNITS, ELITES = 4, 8, [2, 0, 3]


class Model:
    """Gaussians of the reward and of the change of the state: one layer for the means and, softly bounded, ln σ²."""

    def __init__(self, random):
        draw = lambda *size, scale=1.0: single(scale * random.normal(size=size))
        cols, inputs = 1 + OBS, OBS + ACT
        self.members = [
            {
                "net.0.weight": draw(1, inputs, UNITS, scale=0.5), "net.0.bias": draw(1, 1, UNITS, scale=0.2),
                "net.1.weight": draw(1, UNITS, 2 * cols, scale=0.5), "net.1.bias": draw(1, 1, 2 * cols, scale=0.5),
                "min_log_var": single(np.full((1, 1, cols), -3.0)), "max_log_var": single(np.full((1, 1, cols), 0.3)),
            }
            for _ in range(MEMBERS)
        ]
        self.mean, self.std = draw(inputs), single(1.0 + random.uniform(size=inputs))

    def named(self):
        named = {f"store.member.{i}.{name}": x for i, member in enumerate(self.members) for name, x in member.items()}
        named |= {"input_mean": self.mean, "input_std": self.std, "holdout_mse": np.zeros(MEMBERS)}
        return named | {f"elite.{place}": np.array([member]) for place, member in enumerate(ELITES)}

    def states(self, s, a, elites=ELITES):
        """Mean and deviation of s′ by each of these members, in the units of the model."""
        x = (torch.cat([s, a], 1) - torch.from_numpy(self.mean)) / torch.from_numpy(self.std)
        for place in elites:
            p = {name: torch.from_numpy(x)[0] for name, x in self.members[place].items()}
            h = x @ p["net.0.weight"] + p["net.0.bias"]
            y = (h * torch.sigmoid(h)) @ p["net.1.weight"] + p["net.1.bias"]
            change, log_var = y.chunk(2, 1)
            log_var = p["max_log_var"] - softplus(p["max_log_var"] - log_var)
            log_var = p["min_log_var"] + softplus(log_var - p["min_log_var"])
            yield s + change[:, 1:], (log_var / 2).exp()[:, 1:]
