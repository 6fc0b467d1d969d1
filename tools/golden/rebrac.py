"""ReBRAC (arXiv:2305.09836): TD3 that pays for its distance to the log in what it does and in what it expects to do."""

import torch
from torch import nn

from fixture import Recorder, layers

GAMMA, TAU, RATE, OBS, ACT = 0.99, 0.05, 1e-3, 3, 2


class Net(nn.Module):
    def __init__(self, inputs, outputs, layer_norm=False):
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(inputs, 16), nn.Linear(16, 12), nn.Linear(12, outputs)])
        self.layer_norm = layer_norm

    def forward(self, *x):
        x = torch.cat(x, 1)
        for linear in self.linears[:-1]:
            x = linear(x)
            if self.layer_norm:
                x = nn.functional.layer_norm(x, x.shape[-1:])
            x = torch.relu(x)
        return self.linears[-1](x)


def cross(nets):
    """Makes critics steeper, and their mean zero: none is the smallest everywhere."""
    probe = torch.randn(500, OBS), torch.randn(500, ACT)
    with torch.no_grad():
        for q in nets:
            q.linears[-1].weight *= 3
            q.linears[-1].bias -= q(*probe).mean()


def record(name, limit=1.0, beta1=0.4, beta2=0.3, noise=0.4, period=2, layer_norm=True):
    config = {
        "gamma": GAMMA, "beta1": beta1, "beta2": beta2, "policy_noise": noise, "noise_clip": 0.5,
        "policy_period": period, "polyak": TAU, "actor_rate": RATE, "critic_rate": RATE, "layer_norm": layer_norm,
        "hidden": [16, 12],
    }
    rec = Recorder(name, "rebrac", config, act_limit=limit, followed=beta2 > 0)
    actor, actor_target = Net(OBS, ACT), Net(OBS, ACT)
    critics, targets = [nn.ModuleList([Net(OBS + ACT, 1, layer_norm) for _ in range(2)]) for _ in range(2)]
    cross([*critics, *targets])
    rec.start({
        **layers("actor", [actor.linears]),
        **layers("critic", [q.linears for q in critics]),
        **layers("actor_target", [actor_target.linears]),
        **layers("critic_target", [q.linears for q in targets]),
    })
    actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE)
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)

    for t in range(1, 11):
        s, a, r, s2, d, *a2 = rec.batch()
        with torch.no_grad():
            epsilon = limit * (noise * rec.normal(len(s), ACT)).clamp(-0.5, 0.5)
            planned = (limit * torch.tanh(actor_target(s2)) + epsilon).clamp(-limit, limit)
            value = torch.minimum(*(q(s2, planned) for q in targets))
            for recorded in a2:
                value = value - beta2 * ((planned - recorded) ** 2).sum(1, keepdim=True)
            y = r + GAMMA * (1 - d) * value
        qs = [q(s, a) for q in critics]
        critic_loss = sum(((q - y) ** 2).mean() for q in qs)
        rec.report(critic_loss=critic_loss, q=torch.cat(qs).mean())
        rec.step(critic_adam, critic_loss)

        if t % period == 0:
            pi = limit * torch.tanh(actor(s))
            q = torch.minimum(*(q(s, pi) for q in critics))
            scale = 1 / q.detach().abs().mean()
            actor_loss = (beta1 * ((pi - a) ** 2).sum(1, keepdim=True) - scale * q).mean()
            rec.report(actor_loss=actor_loss)
            rec.step(actor_adam, actor_loss)
            with torch.no_grad():
                for target, online in [(targets, critics), (actor_target, actor)]:
                    for old, new in zip(target.parameters(), online.parameters()):
                        old.mul_(1 - TAU).add_(TAU * new)
    rec.save()


record("rebrac")
# Without its penalty on the target: TD3 with a cloning term of another scale.
record("rebrac-one-sided", limit=2.0, beta1=0.05, beta2=0.0, period=3, layer_norm=False)
