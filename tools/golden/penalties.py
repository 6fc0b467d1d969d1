"""Every penalty of an ensemble's Gaussians, by PyTorch's own distributions where it has them."""

import itertools
import os

import numpy as np
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from fixture import safetensors, single

FOLDER = os.path.join(os.path.dirname(__file__), "..", "..", "crates", "parity", "tests", "golden", "penalties")
MEMBERS, ROWS, COLS, SAMPLES, ELITES = 5, 40, 4, 10, [3, 0, 4]

random = np.random.default_rng(20)
# Rows of every kind: doubt from almost none to more than the states themselves, states near zero and far from it.
spread = np.exp(random.uniform(-4, 1, size=(1, ROWS, 1)))
centre = random.normal(size=(1, ROWS, COLS)) * np.where(np.arange(ROWS) % 4 == 0, 10, 1).reshape(1, ROWS, 1)
mean = single(centre + spread * random.normal(size=(MEMBERS, ROWS, COLS)))
std = single(spread * np.exp(0.5 * random.normal(size=(MEMBERS, ROWS, COLS))))
drawn = random.integers(MEMBERS, size=ROWS)
rows = np.arange(ROWS)
outcome = single(mean[drawn, rows] + std[drawn, rows] * random.normal(size=(ROWS, COLS)))
draws = single(random.normal(size=(len(ELITES), ROWS, SAMPLES, COLS - 1)))
weights = single(random.normal(size=COLS - 1))

mu, sigma, x = (torch.from_numpy(a) for a in (mean, std, outcome))
states = slice(1, None)  # the reward stands first


def at(*members):
    """Normal distributions of the members, event shape [COLS]."""
    return Independent(Normal(mu[list(members)], sigma[list(members)]), 1)


def mixture(members):
    """All members with equal weights as one distribution, batch shape [ROWS]."""
    members = list(members)
    equal = Categorical(torch.ones(ROWS, len(members)))
    return MixtureSameFamily(equal, Independent(Normal(mu[members].transpose(0, 1), sigma[members].transpose(0, 1)), 1))


def largest_distance(points):
    """Over all pairs of members."""
    pairs = itertools.combinations(range(MEMBERS), 2)
    return torch.stack([torch.linalg.vector_norm(points[i] - points[j], dim=1) for i, j in pairs]).amax(0)


def divergence(i):
    """Of member i from a Gaussian with the moments of the others."""
    others = mixture(j for j in range(MEMBERS) if j != i)
    return kl_divergence(at(i), Independent(Normal(others.mean, others.variance.sqrt()), 1))[0]


def inconsistency():
    """The value is tanh(w.s) + |s|^2 / 10."""
    m, s = mu[ELITES][:, :, None, states], sigma[ELITES][:, :, None, states]
    reached = m + s * torch.from_numpy(draws)
    value = torch.tanh(reached @ torch.from_numpy(weights)) + 0.1 * (reached**2).sum(-1)
    return value.mean(2).std(0)


total = mixture(range(MEMBERS)).variance
u = {
    "max_aleatoric": torch.linalg.vector_norm(sigma, dim=2).amax(0),
    "max_pairwise": largest_distance(mu),
    "max_pairwise_states": largest_distance(mu[..., states]),
    "max_deviation": torch.linalg.vector_norm((mu - mu.mean(0))[..., states], dim=2).amax(0),
    "ensemble_std": mu[..., states].var(0, unbiased=False).mean(1).sqrt(),
    "mixture_std": total.sum(1).sqrt(),
    "mixture_variance": torch.linalg.vector_norm(total, dim=1),
    "dimension_wise": torch.linalg.vector_norm(mu.amax(0) - mu.amin(0), dim=1),
    "log_likelihood_variance": at(*range(MEMBERS)).log_prob(x).var(0, unbiased=False),
    "leave_one_out_kl": torch.stack([divergence(i) for i in range(MEMBERS)]).mean(0),
    "value_inconsistency": inconsistency(),
}
tensors = {
    "mean": mean, "std": std, "outcome": outcome, "weights": weights,
    "draws": draws.reshape(len(ELITES), ROWS * SAMPLES, COLS - 1),
}
tensors = {name: a.astype(np.float32) for name, a in tensors.items()}
tensors["elites"] = np.array(ELITES, dtype=np.float64)
tensors.update({f"u/{name}": value.numpy() for name, value in u.items()})
notes = {
    "format": "backcast-penalties-1",
    "source": "tools/golden/penalties.py, PyTorch in double precision",
}
path = os.path.join(FOLDER, "penalties.safetensors")
with open(path, "wb") as file:
    file.write(safetensors(notes, tensors))
print(f"penalties: {os.path.getsize(path)} bytes")
