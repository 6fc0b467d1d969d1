"""Continuous groups: TD3+BC's losses on values that are sums over groups of columns (arXiv:2305.01738, arXiv:2106.06860).

The order: critics, actors with the new critics, targets.
"""

import torch
from torch import nn

from fixture import Recorder, layers

GAMMA, TAU, RATE, OBS, ROWS, HIDDEN, LIMIT = 0.98, 0.05, 1e-3, 3, 12, 7, 2.0
COLUMNS, CLONING = (2, 1), (0.3, 0.9)


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def record(name):
    groups = [{"columns": c, "cloning": w} for c, w in zip(COLUMNS, CLONING)]
    config = {
        "groups": groups, "gamma": GAMMA, "critic_rate": RATE, "actor_rate": RATE, "polyak": TAU, "hidden": [HIDDEN],
    }
    rec = Recorder(name, "groups", config, obs=OBS, act=sum(COLUMNS), act_limit=LIMIT, rows=ROWS, crate="factorization")
    critics, targets = [nn.ModuleList([nn.ModuleList([net(OBS + c, 1) for _ in range(2)]) for c in COLUMNS]) for _ in range(2)]
    actors = nn.ModuleList([net(OBS, c) for c in COLUMNS])
    named = {}
    for d in range(len(COLUMNS)):
        named.update(layers(f"critic.{d}", [linears(q) for q in critics[d]]))
        named.update(layers(f"critic_target.{d}", [linears(q) for q in targets[d]]))
        named.update(layers(f"actor.{d}", [linears(actors[d])]))
    rec.start(named)
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)
    actor_adam = torch.optim.Adam(actors.parameters(), lr=RATE)
    bounds = [0, *torch.tensor(COLUMNS).cumsum(0).tolist()]
    own = lambda a, d: a[:, bounds[d]:bounds[d + 1]]
    value = lambda nets, j, s, a: sum(nets[d][j](torch.cat([s, own(a, d)], 1)) for d in range(len(COLUMNS)))
    mu = lambda s: torch.cat([torch.tanh(actor(s)) for actor in actors], 1)
    for _ in range(10):
        s, a, r, s2, d = rec.batch()
        a = a / LIMIT
        with torch.no_grad():
            y = r + GAMMA * (1 - d) * torch.minimum(*[value(targets, j, s2, mu(s2)) for j in range(2)])
        qs = [value(critics, j, s, a) for j in range(2)]
        size = qs[0].detach().abs().mean()
        loss = sum(((q - y) ** 2).mean() for q in qs)
        mean = (qs[0].mean() + qs[1].mean()) / 2
        rec.step(critic_adam, loss)
        mine = mu(s)
        apart = sum(w * ((own(mine, i) - own(a, i)) ** 2).mean() for i, w in enumerate(CLONING))
        actor_loss = apart - value(critics, 0, s, mine).mean() / size
        rec.report(critic_loss=loss, actor_loss=actor_loss, q=mean)
        rec.step(actor_adam, actor_loss)
        with torch.no_grad():
            for q, t in zip(critics.parameters(), targets.parameters()):
                t += TAU * (q - t)
    rec.save()


record("groups")
