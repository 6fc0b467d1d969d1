"""A probabilistic ensemble (PETS, arXiv:1805.12114, with MOPO's numbers) as it is fitted: maximum likelihood, a softly clamped
log-variance between learnt bounds that all members share, decay of weights, Adam. In both directions."""

import math

import numpy as np
import torch
from torch import nn

from fixture import Recorder, layers, plain, single

OBS, ACT = 3, 2
COLS = 1 + OBS


class Ensemble:
    """What is given is s and a, or backwards s' and a; what is predicted is the reward and the change of the state."""

    def __init__(self, random, members, hidden, decay, bound_coefficient, reverse=False):
        self.reverse, self.decay, self.bound_coefficient = reverse, decay, bound_coefficient
        self.hidden = hidden
        sizes = [OBS + ACT, *hidden, 2 * COLS]
        self.nets = [[nn.Linear(i, o) for i, o in zip(sizes, sizes[1:])] for _ in range(members)]
        for net in self.nets:
            for layer in net:
                std = 0.5 / math.sqrt(layer.in_features)
                nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
                # Not zero, as they begin, but as they are after a while.
                nn.init.normal_(layer.bias, std=0.1)
        # So narrow that some log-variances lie beyond each.
        self.low = nn.Parameter(torch.from_numpy(random.uniform(-1.5, -0.5, size=COLS)))
        self.high = nn.Parameter(torch.from_numpy(random.uniform(-0.2, 0.5, size=COLS)))
        self.mean = torch.from_numpy(single(0.3 * random.normal(size=OBS + ACT)))
        self.std = torch.from_numpy(single(random.uniform(0.6, 1.4, size=OBS + ACT)))

    def named(self, prefix=""):
        """Every parameter that is trained, by the names of our State; bounds once for each member, as we keep them."""
        named = {}
        for m, net in enumerate(self.nets):
            member = f"{prefix}store.member.{m}"
            named |= layers(f"{member}.net", [net])
            named |= plain(f"{member}.min_log_var", self.low) | plain(f"{member}.max_log_var", self.high)
        return named

    def write_rest(self, rec, folders, prefix=""):
        """What a model has beside trained parameters; and no gradient of the copies of the bounds."""
        for folder in folders:
            rec.tensors[f"{folder}/{prefix}input_mean"] = self.mean.numpy().astype(np.float32)
            rec.tensors[f"{folder}/{prefix}input_std"] = self.std.numpy().astype(np.float32)
            rec.tensors[f"{folder}/{prefix}holdout_mse"] = np.zeros(len(self.nets), dtype=np.float32)
        for m in range(1, len(self.nets)):
            for bound in ("min_log_var", "max_log_var"):
                rec.tensors.pop(f"gradients/{prefix}store.member.{m}.{bound}", None)

    def parameters(self):
        return [p for net in self.nets for layer in net for p in layer.parameters()] + [self.low, self.high]

    def config(self, **more):
        return {
            "members": len(self.nets), "hidden": self.hidden, "decay": self.decay,
            "bound_coefficient": self.bound_coefficient, **more,
        }

    def predict(self, member, given, a):
        """Mean and log-variance of the reward and of the change from what is given."""
        x = (torch.cat([given, a], 1) - self.mean) / self.std
        for layer in self.nets[member][:-1]:
            x = nn.functional.silu(layer(x))
        mean, log_var = self.nets[member][-1](x).chunk(2, 1)
        log_var = self.high - nn.functional.softplus(self.high - log_var)
        return mean, self.low + nn.functional.softplus(log_var - self.low)

    def split(self, s, a, r, s2):
        """What is given, and what is to be predicted of it."""
        return (s2, torch.cat([r, s - s2], 1)) if self.reverse else (s, torch.cat([r, s2 - s], 1))

    def fit(self, s, a, r, s2, beta=0.0):
        """The loss without decays, on rows of which each member has an equal share; the decays; and the loss with each term of the
        likelihood weighed by a fixed sigma^(2 beta) (arXiv:2203.09168, equation 5)."""
        given, target = self.split(s, a, r, s2)
        weighed = total = self.bound_coefficient * (self.high.sum() - self.low.sum())
        for m, (x, y, act) in enumerate(zip(*(t.chunk(len(self.nets)) for t in (given, target, a)))):
            mean, log_var = self.predict(m, x, act)
            terms = (mean - y) ** 2 * torch.exp(-log_var) + log_var
            total = total + terms.mean()
            weighed = weighed + (torch.exp(log_var).detach() ** beta * terms).mean()
        decays = [k / 2 * (layer.weight**2).sum() for net in self.nets for k, layer in zip(self.decay, net)]
        return total, sum(decays), weighed


def record(name, reverse, **weights):
    rate, members = 1e-3, 3
    random = np.random.default_rng([1, *name.encode()])
    rec = Recorder(name, "ensemble", None, rows=16 * members)
    model = Ensemble(random, members, [12, 10], [2e-2, 0.0, 5e-2], 0.02, reverse)
    rec.config = {"direction": "reverse" if reverse else "forward", "model": model.config(elites=2, learning_rate=rate, **weights)}
    rec.start(model.named())
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    for _ in range(10):
        s, a, r, s2, _ = rec.batch()
        loss, decays, weighed = model.fit(s, a, r, s2, weights.get("beta_nll", 0.0))
        rec.step(adam, weighed + decays)
        rec.report(loss=loss)
    model.write_rest(rec, ["params", "final"])
    rec.save()


if __name__ == "__main__":
    record("ensemble-forward", reverse=False)
    record("ensemble-reverse", reverse=True)
    record("ensemble-weighted", reverse=True, beta_nll=0.5)
