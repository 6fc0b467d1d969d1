"""IQL (arXiv:2110.06169), the authors' order: V, the policy with the new V, Q with the new V, targets."""

import math

import torch
from torch import nn

from fixture import Recorder, layers, plain

GAMMA, TAU, RATE, OBS, ACT, UNITS = 0.99, 0.05, 1e-3, 3, 2, [16, 12]


class Mlp(nn.Module):
    def __init__(self, inputs, outputs, layer_norm=False):
        super().__init__()
        sizes = [inputs, *UNITS, outputs]
        self.linears = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])
        self.layer_norm = layer_norm

    def forward(self, x, drop=lambda x: x):
        for linear in self.linears[:-1]:
            x = linear(x)
            if self.layer_norm:
                x = nn.functional.layer_norm(x, x.shape[-1:])
            x = drop(torch.relu(x))
        return self.linears[-1](x)


def record(
    name, limit=1.0, expectile=0.7, beta=3.0, bound=100.0, decay=0, dropout=0.0, deterministic=False, norm=False,
    wide=0.0,
):
    config = {
        "gamma": GAMMA, "polyak": TAU, "expectile": expectile, "beta": beta, "weight_bound": bound, "value_rate": RATE,
        "critic_rate": RATE, "actor_rate": RATE, "actor_decay": decay, "dropout": dropout,
        "deterministic": deterministic, "layer_norm": norm, "hidden": UNITS,
    }
    rec = Recorder(name, "iql", config, act_limit=limit)
    critics, targets = [[Mlp(OBS + ACT, 1, norm) for _ in range(2)] for _ in range(2)]
    value, mean = Mlp(OBS, 1, norm), Mlp(OBS, ACT)
    log_std = nn.Parameter(0.3 * torch.randn(ACT) + torch.tensor([wide, 0.0]))
    # Advantages of either sign, or half of each formula would go unused.
    probe, probe_action = torch.randn(500, OBS), limit * (2 * torch.rand(500, ACT) - 1)
    with torch.no_grad():
        q = torch.minimum(*(q(torch.cat([probe, probe_action], 1)) for q in targets))
        value.linears[-1].bias += (q - value(probe)).mean()
    rec.start({
        **layers("critic", [q.linears for q in critics]),
        **layers("critic_target", [q.linears for q in targets]),
        **layers("value", [value.linears]),
        **layers("actor", [mean.linears]),
        **plain("actor.log_std", log_std),
    })
    policy = [*mean.parameters(), log_std]
    value_adam, actor_adam = torch.optim.Adam(value.parameters(), lr=RATE), torch.optim.Adam(policy, lr=RATE)
    critic_adam = torch.optim.Adam([p for q in critics for p in q.parameters()], lr=RATE)
    # The rate of step t (from 0) is the cosine at t.
    cosine = lambda t: 0.5 * (1 + math.cos(math.pi * min(t / decay, 1.0))) if decay else 1.0
    schedule = torch.optim.lr_scheduler.LambdaLR(actor_adam, cosine)

    def drop(x):
        return x * rec.mask(1 - dropout, *x.shape) / (1 - dropout) if dropout else x

    for _ in range(10):
        s, a, r, s2, d = rec.batch()
        sa = torch.cat([s, a], 1)
        with torch.no_grad():
            q_target = torch.minimum(*(q(sa) for q in targets))

        v = value(s)
        u = q_target - v
        value_loss = (torch.where(u < 0, 1 - expectile, expectile) * u**2).mean()
        rec.step(value_adam, value_loss)

        with torch.no_grad():
            weight = torch.clamp(torch.exp(beta * (q_target - value(s))), max=bound)
        mu = limit * torch.tanh(mean(s, drop))
        if deterministic:
            misfit = ((mu - a) ** 2).sum(1, keepdim=True)
        else:
            pi = torch.distributions.Normal(mu, log_std.clamp(-5, 2).exp())
            misfit = -pi.log_prob(a).sum(1, keepdim=True)
        actor_loss = (weight * misfit).mean()
        rec.step(actor_adam, actor_loss)
        schedule.step()

        with torch.no_grad():
            y = r + GAMMA * (1 - d) * value(s2)
        q1, q2 = (q(sa) for q in critics)
        critic_loss = ((q1 - y) ** 2 + (q2 - y) ** 2).mean()
        rec.step(critic_adam, critic_loss)

        with torch.no_grad():
            for target, online in zip(targets, critics):
                for old, new in zip(target.parameters(), online.parameters()):
                    old.mul_(1 - TAU).add_(TAU * new)
        rec.report(value_loss=value_loss, actor_loss=actor_loss, critic_loss=critic_loss)
        rec.report(q=(q1.mean() + q2.mean()) / 2, v=v.mean())
    rec.save()


# The decayed rate reaches zero before the last update.
record("iql", decay=8)
record("iql-deterministic", limit=2.0, expectile=0.9, deterministic=True)
# The weights meet their bound.
record("iql-dropout", beta=10.0, bound=1.5, dropout=0.25)
# The first ln σ is beyond its bound.
record("iql-layer-norm", expectile=0.5, norm=True, wide=3.0)
