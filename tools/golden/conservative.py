"""What learners that extend CQL share: its policy, temperature and critics, and their steps, each with something added to its loss.

Updates are those of cql.py, without a multiplier, a warm start or a best of several actions; with no candidates it is SAC.
"""

import math

import torch
from torch import nn

from fixture import layers, plain

GAMMA, TAU, ACTOR_RATE, RATE, OBS, ACT = 0.99, 0.05, 5e-4, 1e-3, 3, 2


def net(inputs, outputs, hidden=(16, 12)):
    """ReLU between layers; `linears` names them."""
    sizes = [inputs, *hidden, outputs]
    parts = [part for a, b in zip(sizes, sizes[1:]) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*parts[:-1])


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


class Base:
    def __init__(self, limit=1.0, weight=5.0, n=4, critics=2, entropy_backup=False):
        self.limit, self.weight, self.n, self.entropy_backup = limit, weight, n, entropy_backup
        self.policy = net(OBS, 2 * ACT)
        self.critics, self.targets = [nn.ModuleList([net(OBS + ACT, 1) for _ in range(critics)]) for _ in range(2)]
        with torch.no_grad():
            probe = torch.randn(500, OBS + ACT)
            for q in [*self.critics, *self.targets]:
                # None is the smallest everywhere.
                q[-1].weight *= 3
                q[-1].bias -= q(probe).mean()
        self.ln_alpha = nn.Parameter(torch.zeros(1))

    def config(self):
        return {
            "gamma": GAMMA, "polyak": TAU, "weight": self.weight, "samples": self.n, "critics": len(self.critics),
            "entropy_backup": self.entropy_backup, "alpha_rate": ACTOR_RATE, "actor_rate": ACTOR_RATE, "critic_rate": RATE,
            "hidden": [16, 12],
        }

    def named(self):
        return {
            **layers("actor", [linears(self.policy)]),
            **layers("critic", [linears(q) for q in self.critics]),
            **layers("critic_target", [linears(q) for q in self.targets]),
            **plain("temperature.ln_alpha", self.ln_alpha),
        }

    def start(self, rec):
        """After the parameters have been rounded."""
        self.rec = rec
        self.alpha_adam = torch.optim.Adam([self.ln_alpha], lr=ACTOR_RATE)
        self.actor_adam = torch.optim.Adam(self.policy.parameters(), lr=ACTOR_RATE)
        self.critic_adam = torch.optim.Adam(self.critics.parameters(), lr=RATE)

    def gaussian(self, s):
        mu, log_std = self.policy(s).chunk(2, -1)
        return torch.distributions.Normal(mu, log_std.clamp(-20, 2).exp())

    @staticmethod
    def density(base, u):
        """ln π of tanh u, an action in units of its limit."""
        jacobian = 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))
        return (base.log_prob(u) - jacobian).sum(-1)

    def several(self, s, k):
        """k actions for each row: [rows, k, act] and their log-densities [rows, k]."""
        base = self.gaussian(s.unsqueeze(1).expand(-1, k, -1))
        u = base.mean + base.stddev * self.rec.normal(len(s) * k, ACT).view(len(s), k, ACT)
        return torch.tanh(u), self.density(base, u)

    def values(self, nets, s, a):
        """Of actions [rows, act] or [rows, k, act] in units of their limit: [critics, rows] or [critics, rows, k]."""
        if a.dim() == 3:
            s = s.unsqueeze(1).expand(-1, a.shape[1], -1)
        x = torch.cat([s, self.limit * a], -1)
        return torch.stack([q(x).squeeze(-1) for q in nets])

    def actor_step(self, s, more=lambda: 0.0):
        base = self.gaussian(s)
        u = base.mean + base.stddev * self.rec.normal(len(s), ACT)
        log_pi = self.density(base, u)
        self.rec.step(self.alpha_adam, -(self.ln_alpha * (log_pi - ACT).detach()).mean())
        least = self.values(self.critics, s, torch.tanh(u)).amin(0)
        loss = (self.ln_alpha.exp().detach() * log_pi - least).mean() + more()
        self.rec.step(self.actor_adam, loss)
        self.rec.report(actor_loss=loss, entropy=-log_pi.mean(), ln_alpha=self.ln_alpha)

    def critic_step(self, batch, more=lambda: 0.0):
        s, a, r, s2, d = batch
        rows, r, d, n = len(s), r.squeeze(1), d.squeeze(1), self.n
        with torch.no_grad():
            pi2, log_pi2 = self.several(s2, 1)
            value = self.values(self.targets, s2, pi2[:, 0]).amin(0)
            if self.entropy_backup:
                value = value - self.ln_alpha.exp() * log_pi2[:, 0]
            y = r + GAMMA * (1 - d) * value
            if n:
                uniform = self.rec.uniform(-1, 1, rows * n, ACT).view(rows, n, ACT)
                here, log_here = self.several(s, n)
                after, log_after = self.several(s2, n)
                tried = torch.cat([uniform, here, after], 1)
                log_p = torch.cat([torch.full((rows, n), ACT * math.log(0.5)), log_here, log_after], 1)
        q = self.values(self.critics, s, a / self.limit)
        gap = torch.zeros(())
        if n:
            gap = (self.values(self.critics, s, tried) - log_p).logsumexp(2).mean(1) - q.mean(1)
        loss = (((q - y) ** 2).mean(1) + self.weight * gap).sum() + more()
        self.rec.step(self.critic_adam, loss)
        with torch.no_grad():
            for old, new in zip(self.targets.parameters(), self.critics.parameters()):
                old.lerp_(new, TAU)
        self.rec.report(critic_loss=loss, q=q.mean(), gap=gap.mean(), target=y.mean())
