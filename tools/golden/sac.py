"""SAC (arXiv:1812.05905) with a learnt temperature, α, then the policy, then the critics; and SAC+BC."""

import math

import torch
from torch import nn

from fixture import Recorder, layers, plain

GAMMA, TAU, RATE, OBS, ACT = 0.99, 0.05, 1e-3, 3, 2


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, outputs))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def record(name, limit=1.0, alpha=1.0, target_entropy=None, cloning=None, wide=0.0):
    config = {
        "gamma": GAMMA, "polyak": TAU, "alpha": alpha, "alpha_rate": RATE, "target_entropy": target_entropy,
        "cloning": cloning, "actor_rate": RATE, "critic_rate": RATE, "hidden": [16, 12],
    }
    rec = Recorder(name, "sac", config, act_limit=limit)
    actor = net(OBS, 2 * ACT)
    critics, targets = [[net(OBS + ACT, 1) for _ in range(2)] for _ in range(2)]
    ln_alpha = nn.Parameter(torch.tensor([math.log(alpha)]))
    with torch.no_grad():
        actor[-1].bias[ACT] += wide
    rec.start({
        **layers("actor", [linears(actor)]),
        **layers("critic", [linears(q) for q in critics]),
        **layers("critic_target", [linears(q) for q in targets]),
        **plain("temperature.ln_alpha", ln_alpha),
    })
    alpha_adam = torch.optim.Adam([ln_alpha], lr=RATE)
    actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE)
    critic_adam = torch.optim.Adam([p for q in critics for p in q.parameters()], lr=RATE)
    entropy_wanted = -ACT if target_entropy is None else target_entropy

    def sample(s):
        """tanh u, the log-density of tanh u (of an action in units of its limit), tanh μ."""
        mu, log_std = actor(s).chunk(2, 1)
        std = log_std.clamp(-20, 2).exp()
        u = mu + std * rec.normal(len(s), ACT)
        # ln(1 − tanh²u) exactly, without the 10⁻⁶ that keeps the naive form finite.
        jacobian = 2 * (math.log(2) - u - nn.functional.softplus(-2 * u))
        log_pi = (torch.distributions.Normal(mu, std).log_prob(u) - jacobian).sum(1, keepdim=True)
        return torch.tanh(u), log_pi, torch.tanh(mu)

    for _ in range(10):
        s, a, r, s2, d = rec.batch()
        pi, log_pi, mode = sample(s)
        rec.step(alpha_adam, -(ln_alpha * (log_pi + entropy_wanted).detach()).mean())
        q = torch.minimum(*(q(torch.cat([s, limit * pi], 1)) for q in critics))
        price = ln_alpha.exp().detach()
        if cloning is None:
            actor_loss = (price * log_pi - q).mean()
        else:
            weight = cloning / q.abs().mean().detach()
            actor_loss = (price * log_pi - weight * q).mean() + nn.functional.mse_loss(limit * mode, a)
        rec.step(actor_adam, actor_loss)

        with torch.no_grad():
            pi2, log_pi2, _ = sample(s2)
            q2 = torch.minimum(*(q(torch.cat([s2, limit * pi2], 1)) for q in targets))
            y = r + GAMMA * (1 - d) * (q2 - price * log_pi2)
        qs = [q(torch.cat([s, a], 1)) for q in critics]
        critic_loss = sum(nn.functional.mse_loss(q, y) for q in qs)
        rec.step(critic_adam, critic_loss)

        with torch.no_grad():
            for target, online in zip(targets, critics):
                for old, new in zip(target.parameters(), online.parameters()):
                    old += TAU * (new - old)
        rec.report(actor_loss=actor_loss, critic_loss=critic_loss, q=torch.cat(qs).mean())
        rec.report(entropy=-log_pi.mean(), ln_alpha=ln_alpha)
    rec.save()


record("sac")
# The first ln σ lies on both sides of its bound.
record("sac-bc", limit=2.0, alpha=0.2, target_entropy=-1.0, cloning=2.5, wide=2.0)
