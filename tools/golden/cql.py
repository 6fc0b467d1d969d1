"""CQL(H) (arXiv:2006.04779), importance sampled: SAC whose critics pay for what they think of actions not in the log.

The order is ROMI's copy of the authors' code: α and the policy step first, then the critics with the new policy.
"""

import math

import torch
from torch import nn

from fixture import Recorder, layers, plain

GAMMA, TAU, ACTOR_RATE, RATE, OBS, ACT = 0.99, 0.05, 5e-4, 1e-3, 3, 2


class Critic(nn.Module):
    def __init__(self, layer_norm):
        super().__init__()
        self.layer_norm = layer_norm
        self.linears = nn.ModuleList([nn.Linear(OBS + ACT, 16), nn.Linear(16, 12), nn.Linear(12, 1)])

    def forward(self, s, a):
        """[rows, obs] with [rows, act] or [rows, n, act]: [rows] or [rows, n]."""
        if a.dim() == 3:
            s = s.unsqueeze(1).expand(-1, a.shape[1], -1)
        x = torch.cat([s, a], -1)
        for linear in self.linears[:-1]:
            x = linear(x)
            if self.layer_norm:
                x = nn.functional.layer_norm(x, x.shape[-1:])
            x = x.relu()
        return self.linears[-1](x).squeeze(-1)


def record(
    name, limit=1.0, weight=5.0, n=10, three_way=False, threshold=None, max_backup=False,
    entropy_backup=False, warm_start=0, layer_norm=False,
):
    config = {
        "gamma": GAMMA, "polyak": TAU, "weight": weight, "samples": n, "three_way": three_way, "lagrange": threshold,
        "max_backup": max_backup, "entropy_backup": entropy_backup, "warm_start": warm_start, "alpha_rate": ACTOR_RATE,
        "actor_rate": ACTOR_RATE, "critic_rate": RATE, "layer_norm": layer_norm, "hidden": [16, 12],
    }
    rec = Recorder(name, "cql", config, act_limit=limit)
    policy = nn.ModuleList([nn.Linear(OBS, 16), nn.Linear(16, 12), nn.Linear(12, 2 * ACT)])
    critics, targets = [nn.ModuleList([Critic(layer_norm), Critic(layer_norm)]) for _ in range(2)]
    ln_alpha, ln_price = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    rec.start({
        **layers("actor", [policy]),
        **layers("critic", [q.linears for q in critics]),
        **layers("critic_target", [q.linears for q in targets]),
        **plain("temperature.ln_alpha", ln_alpha),
        **({} if threshold is None else plain("multiplier.ln_alpha", ln_price)),
    })
    alpha_adam = torch.optim.Adam([ln_alpha], lr=ACTOR_RATE)
    actor_adam = torch.optim.Adam(policy.parameters(), lr=ACTOR_RATE)
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)
    price_adam = torch.optim.Adam([ln_price], lr=RATE)

    def gaussian(s):
        mu, log_std = policy[2](policy[1](policy[0](s).relu()).relu()).chunk(2, -1)
        return torch.distributions.Normal(mu, log_std.clamp(-20, 2).exp())

    def density(base, u):
        """ln π of tanh u, an action in units of its limit."""
        jacobian = 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))
        return (base.log_prob(u) - jacobian).sum(-1)

    def several(s, k):
        """k actions for each row: [rows, k, act] and their log-densities [rows, k]."""
        base = gaussian(s.unsqueeze(1).expand(-1, k, -1))
        u = base.mean + base.stddev * rec.normal(len(s) * k, ACT).view(len(s), k, ACT)
        return torch.tanh(u), density(base, u)

    for t in range(10):
        s, a, r, s2, d = rec.batch()
        rows, r, d = len(s), r.squeeze(1), d.squeeze(1)

        base = gaussian(s)
        u = base.mean + base.stddev * rec.normal(rows, ACT)
        log_pi = density(base, u)
        rec.step(alpha_adam, -(ln_alpha * (log_pi - ACT).detach()).mean())
        alpha = ln_alpha.exp().detach()
        if t < warm_start:
            gain = density(base, torch.atanh(a / limit))
        else:
            gain = torch.minimum(*(q(s, limit * torch.tanh(u)) for q in critics))
        actor_loss = (alpha * log_pi - gain).mean()
        rec.step(actor_adam, actor_loss)

        with torch.no_grad():
            pi2, log_pi2 = several(s2, n if max_backup else 1)
            best = [q(s2, limit * pi2).amax(1) for q in targets]
            value = torch.minimum(*best)
            if entropy_backup:
                value = value - alpha * log_pi2.squeeze(1)
            y = r + GAMMA * (1 - d) * value
            uniform = rec.uniform(-1, 1, rows * n, ACT).view(rows, n, ACT)
            here, log_here = several(s, n)
            after, log_after = several(s2, n)
            log_uniform = torch.full((rows, n), ACT * math.log(0.5))
        price = 1.0 if threshold is None else ln_price.exp().clamp(0, 1e6)
        critic_loss, excess, gaps, values = 0, 0, [], []
        for q in critics:
            # Each kind valued at s; densities of actions from s2 are those at s2.
            kinds = [(uniform, log_uniform), (after, log_after), (here, log_here)]
            weighed = torch.stack([q(s, limit * kind) - log_p for kind, log_p in kinds], 2)
            high = weighed.logsumexp(2).mean() if three_way else weighed.flatten(1).logsumexp(1).mean()
            value = q(s, a)
            gap = high - value.mean()
            above = weight * gap - (threshold or 0.0)
            critic_loss = critic_loss + nn.functional.mse_loss(value, y) + (1.0 if threshold is None else price.detach()) * above
            excess = excess + above.detach()
            gaps.append(gap)
            values.append(value)
        rec.step(critic_adam, critic_loss)
        if threshold is not None:
            rec.step(price_adam, -0.5 * (price * excess).sum())
            rec.report(ln_multiplier=ln_price)

        with torch.no_grad():
            for old, new in zip(targets.parameters(), critics.parameters()):
                old.lerp_(new, TAU)
        rec.report(actor_loss=actor_loss, critic_loss=critic_loss, q=torch.cat(values).mean(), gap=sum(gaps) / 2)
        rec.report(target=y.mean(), entropy=-log_pi.mean(), ln_alpha=ln_alpha)
    rec.save()


record("cql", warm_start=4)
record("cql-lagrange", limit=2.0, n=4, threshold=10.0)
record("cql-max-backup", n=5, max_backup=True)
record("cql-three-way", n=4, three_way=True, entropy_backup=True, layer_norm=True)
