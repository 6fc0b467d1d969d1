"""SAC-N and EDAC (arXiv:2110.01548): SAC with N critics, whose slopes in the action are kept apart.

The order is the authors': α, the policy, the critics.
"""

import itertools
import math

import torch
from torch import nn

from fixture import Recorder, layers, plain

GAMMA, TAU, RATE, OBS, ACT = 0.99, 0.05, 1e-3, 3, 2


class Critic(nn.Module):
    def __init__(self, layer_norm):
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(OBS + ACT, 16), nn.Linear(16, 12), nn.Linear(12, 1)])
        self.layer_norm = layer_norm

    def forward(self, s, a):
        x = torch.cat([s, a], 1)
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


def record(name, critics, eta, limit=1.0, alpha=1.0, backup=True, target_entropy=None, layer_norm=False):
    config = {
        "gamma": GAMMA, "polyak": TAU, "critics": critics, "eta": eta, "entropy_backup": backup, "alpha": alpha,
        "alpha_rate": RATE, "target_entropy": target_entropy, "actor_rate": RATE, "critic_rate": RATE,
        "layer_norm": layer_norm, "hidden": [16, 12],
    }
    rec = Recorder(name, "edac", config, act_limit=limit)
    actor = nn.ModuleList([nn.Linear(OBS, 16), nn.Linear(16, 12), nn.Linear(12, 2 * ACT)])
    ensemble, targets = [nn.ModuleList([Critic(layer_norm) for _ in range(critics)]) for _ in range(2)]
    cross([*ensemble, *targets])
    ln_alpha = nn.Parameter(torch.tensor([math.log(alpha)]))
    rec.start({
        **layers("actor", [actor]),
        **layers("critic", [q.linears for q in ensemble]),
        **layers("critic_target", [q.linears for q in targets]),
        **plain("temperature.ln_alpha", ln_alpha),
    })
    alpha_adam = torch.optim.Adam([ln_alpha], lr=RATE)
    actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE)
    critic_adam = torch.optim.Adam(ensemble.parameters(), lr=RATE)
    entropy_wanted = -ACT if target_entropy is None else target_entropy

    def sample(s):
        """An action and its log-density in units of the limit."""
        mu, log_std = actor[2](actor[1](actor[0](s).relu()).relu()).chunk(2, 1)
        std = log_std.clamp(-20, 2).exp()
        u = mu + std * rec.normal(len(s), ACT)
        # ln(1 − tanh²u) exactly, without the 10⁻⁶ that keeps the naive form finite.
        jacobian = 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))
        log_pi = (torch.distributions.Normal(mu, std).log_prob(u) - jacobian).sum(1, keepdim=True)
        return limit * torch.tanh(u), log_pi

    def worst(nets, s, a):
        return torch.cat([q(s, a) for q in nets], 1).amin(1, keepdim=True)

    for _ in range(10):
        s, a, r, s2, d = rec.batch()
        pi, log_pi = sample(s)
        if backup:
            rec.step(alpha_adam, -(ln_alpha * (log_pi + entropy_wanted).detach()).mean())
        price = ln_alpha.exp().detach()
        actor_loss = (price * log_pi - worst(ensemble, s, pi)).mean()
        rec.step(actor_adam, actor_loss)

        with torch.no_grad():
            pi2, log_pi2 = sample(s2)
            value = worst(targets, s2, pi2)
            if backup:
                value = value - price * log_pi2
            y = r + GAMMA * (1 - d) * value
        here = a.clone().requires_grad_()
        qs = [q(s, here) for q in ensemble]
        critic_loss = sum(nn.functional.mse_loss(q, y) for q in qs)
        if eta > 0:
            slopes = [torch.autograd.grad(q.sum(), here, create_graph=True)[0] for q in qs]
            units = [g / (g.norm(dim=1, keepdim=True) + 1e-10) for g in slopes]
            alike = sum((g * h).sum(1).mean() for g, h in itertools.permutations(units, 2))
            critic_loss = critic_loss + eta / (critics - 1) * alike
            rec.report(similarity=alike / (critics * (critics - 1)))
        rec.step(critic_adam, critic_loss)

        with torch.no_grad():
            for old, new in zip(targets.parameters(), ensemble.parameters()):
                old.lerp_(new, TAU)
        rec.report(actor_loss=actor_loss, critic_loss=critic_loss, q=torch.cat(qs).mean())
        rec.report(entropy=-log_pi.mean(), ln_alpha=ln_alpha)
    rec.save()


record("edac", critics=4, eta=1.5)
# The temperature rests where the backup has no entropy; slopes run through the normalisation.
record("edac-no-entropy", critics=3, eta=5.0, limit=2.0, alpha=0.3, backup=False, layer_norm=True)
record("sac-n", critics=7, eta=0.0, limit=1.5, alpha=0.2, target_entropy=-1.0)
