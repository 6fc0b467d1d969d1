"""BEAR (arXiv:1906.00949): Q-learning whose policy's actions must be among those of a VAE of the log's, by their MMD.

The order is the authors': VAE, critics, the policy, its multiplier with the distance that the policy saw, targets.
"""

import math

import torch
from torch import nn
from torch.nn.functional import mse_loss

from fixture import Recorder, layers, plain

GAMMA, LAMBDA, KL, TAU, RATE = 0.99, 0.75, 0.5, 0.05, 1e-3
OBS, ACT, LATENT = 3, 2, 4


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


def record(
    name, kernel, sigma, ln_alpha_start, limit=1.0, critics=2, m=5, n=10, threshold=0.05, warm_start=0,
    target_actor=True, wide=0.0, ends_at=None,
):
    config = {
        "gamma": GAMMA, "critics": critics, "lambda": LAMBDA, "kernel": kernel, "sigma": sigma, "mmd_samples": m,
        "threshold": threshold, "alpha_rate": RATE, "warm_start": warm_start, "target_samples": n,
        "target_actor": target_actor, "kl_weight": KL, "polyak": TAU, "vae_rate": RATE, "actor_rate": RATE,
        "critic_rate": RATE, "hidden": [16, 12], "vae_hidden": [16, 12],
    }
    rec = Recorder(name, "bear", config, act_limit=limit, rows=12)
    encoder, decoder = net(OBS + ACT, 2 * LATENT), net(OBS + LATENT, ACT)
    actor, actor_target = net(OBS, 2 * ACT), net(OBS, 2 * ACT)
    with torch.no_grad():
        # The first ln σ lies on both sides of its bound.
        encoder[-1].bias[LATENT] = -4.0
        actor[-1].bias[ACT] += wide
    critic, critic_target = [nn.ModuleList([net(OBS + ACT, 1) for _ in range(critics)]) for _ in range(2)]
    cross([*critic, *critic_target])
    ln_alpha = nn.Parameter(torch.tensor([ln_alpha_start]))
    rec.start({
        **layers("vae.encoder", [linears(encoder)]),
        **layers("vae.decoder", [linears(decoder)]),
        **layers("actor", [linears(actor)]),
        **layers("critic", [linears(q) for q in critic]),
        **layers("actor_target", [linears(actor_target)]),
        **layers("critic_target", [linears(q) for q in critic_target]),
        **plain("multiplier.ln_alpha", ln_alpha),
    })
    vae_adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE)
    critic_adam = torch.optim.Adam(critic.parameters(), lr=RATE)
    alpha_adam = torch.optim.Adam([ln_alpha], lr=RATE)

    def several(pi, s, k):
        """k actions before their tanh for each state, [rows, k, act]."""
        mu, log_std = pi(s).unsqueeze(1).expand(-1, k, -1).chunk(2, 2)
        return mu + log_std.clamp(-20, 2).exp() * rec.normal(len(s) * k, ACT).view(len(s), k, ACT)

    def values(nets, s, a):
        """[rows, k, critics] of actions [rows, k, act]."""
        x = torch.cat([s.unsqueeze(1).expand(-1, a.shape[1], -1), a], 2)
        return torch.cat([q(x) for q in nets], 2)

    def similarity(x, y):
        """The mean of k over all pairs, [rows]."""
        d = x.unsqueeze(2) - y.unsqueeze(1)
        size = d.abs().sum(3) if kernel == "laplacian" else (d**2).sum(3)
        return (-size / (2 * sigma)).exp().mean((1, 2))

    other = False
    for t in range(10):
        s, a, r, s2, d = rec.batch()
        rows = len(s)

        mean, log_std = encoder(torch.cat([s, a], 1)).chunk(2, 1)
        std = log_std.clamp(-4, 15).exp()
        recon = limit * torch.tanh(decoder(torch.cat([s, mean + std * rec.normal(rows, LATENT)], 1)))
        kl = torch.distributions.kl_divergence(torch.distributions.Normal(mean, std), torch.distributions.Normal(0.0, 1.0))
        vae_loss = mse_loss(recon, a) + KL * kl.mean()
        rec.step(vae_adam, vae_loss)

        with torch.no_grad():
            a2 = limit * torch.tanh(several(actor_target if target_actor else actor, s2, n))
            q2 = values(critic_target, s2, a2)
            q2 = LAMBDA * q2.amin(2) + (1 - LAMBDA) * q2.amax(2)
            y = r + GAMMA * (1 - d) * q2.amax(1, keepdim=True)
        qs = [q(torch.cat([s, a], 1)) for q in critic]
        critic_loss = sum(mse_loss(q, y) for q in qs)
        rec.step(critic_adam, critic_loss)

        u = several(actor, s, m)
        with torch.no_grad():
            sm = s.repeat_interleave(m, 0)
            z = rec.normal(rows * m, LATENT).clamp(-0.5, 0.5)
            v = decoder(torch.cat([sm, z], 1)).view(rows, m, ACT)
        distance = (similarity(u, u) - 2 * similarity(u, v) + similarity(v, v) + 1e-6).sqrt().mean()
        actor_loss = ln_alpha.exp().detach() * distance
        if t >= warm_start:
            q = values(critic, s, limit * torch.tanh(u))
            actor_loss = actor_loss - q.mean(1).amin(1).mean()
            other |= bool((q.mean(1).amin(1) - q.amin(2).mean(1) > 1e-2).any())
        rec.step(actor_adam, actor_loss)
        # Up, so that a distance beyond the threshold becomes dear.
        rec.step(alpha_adam, -ln_alpha.exp() * (distance.detach() - threshold))
        with torch.no_grad():
            ln_alpha.clamp_(-5, 10)
            for target, online in [(critic_target, critic), (actor_target, actor)]:
                for old, new in zip(target.parameters(), online.parameters()):
                    old.lerp_(new, TAU)
        rec.report(vae_loss=vae_loss, critic_loss=critic_loss, actor_loss=actor_loss, q=torch.cat(qs).mean())
        rec.report(mmd=distance, ln_alpha=ln_alpha)
    assert other, "the smallest mean is not the mean of the smallest"
    assert ends_at is None or math.isclose(ln_alpha.item(), ends_at), "the multiplier meets its bound"
    rec.save()


record("bear", "laplacian", 10.0, ln_alpha_start=0.7)
# The multiplier falls to its bound; four updates see the distance alone.
record(
    "bear-gaussian", "gaussian", 20.0, ln_alpha_start=-4.9945, limit=2.0, critics=3, m=4, threshold=5.0, warm_start=4,
    target_actor=False, wide=2.0, ends_at=-5.0,
)
