"""AWAC (arXiv:2006.09359), in CORL's order: the critics, the policy with the new critics, targets."""

import torch
from torch import nn

from fixture import Recorder, layers, plain

GAMMA, TAU, RATE, OBS, ACT = 0.99, 0.05, 1e-3, 3, 2


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, outputs))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def cross(nets):
    """Makes critics steeper, and their mean zero: none is the smallest everywhere."""
    probe = torch.randn(500, OBS + ACT)
    with torch.no_grad():
        for q in nets:
            q[-1].weight *= 3
            q[-1].bias -= q(probe).mean()


def smallest(nets, s, a):
    return torch.cat([q(torch.cat([s, a], 1)) for q in nets], 1).amin(1, keepdim=True)


def record(name, limit=1.0, temperature=1 / 3, bound=100.0, wide=0.0):
    config = {
        "gamma": GAMMA, "polyak": TAU, "lambda": temperature, "weight_bound": bound, "actor_rate": RATE,
        "critic_rate": RATE, "hidden": [16, 12],
    }
    rec = Recorder(name, "awac", config, act_limit=limit)
    mean = net(OBS, ACT)
    log_std = nn.Parameter(0.3 * torch.randn(ACT) + torch.tensor([wide, -0.5]))
    critics, targets = [nn.ModuleList([net(OBS + ACT, 1) for _ in range(2)]) for _ in range(2)]
    cross([*critics, *targets])
    rec.start({
        **layers("actor", [linears(mean)]),
        **plain("actor.log_std", log_std),
        **layers("critic", [linears(q) for q in critics]),
        **layers("critic_target", [linears(q) for q in targets]),
    })
    actor_adam = torch.optim.Adam([*mean.parameters(), log_std], lr=RATE)
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)

    def policy(s):
        mu = limit * torch.tanh(mean(s))
        return torch.distributions.Normal(mu, log_std.clamp(-5, 2).exp().expand_as(mu))

    def sample(s):
        """Without gradient, in the box."""
        with torch.no_grad():
            pi = policy(s)
            return (pi.mean + pi.stddev * rec.normal(len(s), ACT)).clamp(-limit, limit)

    met = [False, False]
    for _ in range(10):
        s, a, r, s2, d = rec.batch()
        with torch.no_grad():
            y = r + GAMMA * (1 - d) * smallest(targets, s2, sample(s2))
        qs = [q(torch.cat([s, a], 1)) for q in critics]
        critic_loss = sum(nn.functional.mse_loss(q, y) for q in qs)
        rec.step(critic_adam, critic_loss)

        with torch.no_grad():
            advantage = smallest(critics, s, a) - smallest(critics, s, sample(s))
            free = (advantage / temperature).exp()
            weight = free.clamp(max=bound)
        met = [met[0] or bool((free < bound).any()), met[1] or bool((free > bound).any())]
        actor_loss = -(weight * policy(s).log_prob(a).sum(1, keepdim=True)).mean()
        rec.step(actor_adam, actor_loss)

        with torch.no_grad():
            for old, new in zip(targets.parameters(), critics.parameters()):
                old.lerp_(new, TAU)
        rec.report(critic_loss=critic_loss, actor_loss=actor_loss, q=torch.cat(qs).mean(), weight=weight.mean())
    assert met == [True, bound < 100.0], "the bound is met where it should be"
    rec.save()


record("awac")
# The weights meet their bound, and the first ln σ is beyond its own.
record("awac-bounded", limit=2.0, temperature=0.1, bound=1.5, wide=2.8)
