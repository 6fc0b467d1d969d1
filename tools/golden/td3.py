"""TD3 (arXiv:1802.09477); and with a cloning term and the size of Q divided out TD3+BC, which td3_bc.py records."""

import torch
from torch import nn

from fixture import Recorder, layers

GAMMA, ALPHA, NOISE, CLIP, PERIOD, TAU, RATE = 0.99, 2.5, 0.2, 0.5, 2, 0.05, 1e-3
LIMIT, OBS, ACT = 2.0, 3, 2


class Net(nn.Sequential):
    def __init__(self, inputs, outputs):
        super().__init__(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, outputs))

    def linears(self):
        return [m for m in self if isinstance(m, nn.Linear)]


def update_target(target, net):
    with torch.no_grad():
        for old, new in zip(target.parameters(), net.parameters()):
            old.copy_(TAU * new + (1 - TAU) * old)


def record(name, clones):
    config = {
        "gamma": GAMMA, **({"alpha": ALPHA} if clones else {}), "policy_noise": NOISE, "noise_clip": CLIP,
        "policy_period": PERIOD, "polyak": TAU, "actor_rate": RATE, "critic_rate": RATE, "hidden": [16, 12],
    }
    rec = Recorder(name, name, config, act_limit=LIMIT)
    actor, actor_target = Net(OBS, ACT), Net(OBS, ACT)
    critics, targets = [Net(OBS + ACT, 1) for _ in range(2)], [Net(OBS + ACT, 1) for _ in range(2)]
    with torch.no_grad():
        # Steeper critics whose mean is zero: neither is the smaller everywhere.
        probe = torch.randn(500, OBS + ACT)
        for q in [*critics, *targets]:
            q[-1].weight *= 3
            q[-1].bias -= q(probe).mean()
    rec.start({
        **layers("actor", [actor.linears()]),
        **layers("critic", [q.linears() for q in critics]),
        **layers("actor_target", [actor_target.linears()]),
        **layers("critic_target", [q.linears() for q in targets]),
    })
    actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE)
    critic_adam = torch.optim.Adam([p for q in critics for p in q.parameters()], lr=RATE)

    for t in range(1, 11):
        s, a, r, s2, d = rec.batch()
        with torch.no_grad():
            noise = torch.clamp(rec.normal(len(s), ACT) * NOISE * LIMIT, -CLIP * LIMIT, CLIP * LIMIT)
            a2 = torch.clamp(LIMIT * torch.tanh(actor_target(s2)) + noise, -LIMIT, LIMIT)
            q1, q2 = (q(torch.cat([s2, a2], 1)) for q in targets)
            y = r + GAMMA * (1 - d) * torch.minimum(q1, q2)
        q1, q2 = (q(torch.cat([s, a], 1)) for q in critics)
        loss = nn.functional.mse_loss(q1, y) + nn.functional.mse_loss(q2, y)
        rec.report(critic_loss=loss, q=(q1.mean() + q2.mean()) / 2)
        rec.step(critic_adam, loss)
        if t % PERIOD == 0:
            pi = LIMIT * torch.tanh(actor(s))
            q = critics[0](torch.cat([s, pi], 1))
            if clones:
                loss = -ALPHA / q.abs().mean().detach() * q.mean() + nn.functional.mse_loss(pi, a)
            else:
                loss = -q.mean()
            rec.report(actor_loss=loss)
            rec.step(actor_adam, loss)
            for old, new in [*zip(targets, critics), (actor_target, actor)]:
                update_target(old, new)
    rec.save()


if __name__ == "__main__":
    record("td3", False)
