"""MCQ (arXiv:2206.04745): SAC whose critics are told, of the policy's actions, the best that a model of the log's can do.

The order: VAE, critics, α, the policy with the new critics and the new α, targets.
"""

import math

import torch
from torch import nn
from torch.nn.functional import softplus

from fixture import Recorder, layers, plain

GAMMA, TAU, RATE, OBS, ACT, LATENT = 0.99, 0.05, 1e-3, 3, 2, 4


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
    name, limit=1.0, weight=0.7, n=6, m=4, target_pseudo=False, floor=None, one_sided=False, alpha=1.0,
    target_entropy=None,
):
    config = {
        "gamma": GAMMA, "lambda": weight, "samples": n, "policy_samples": m, "target_pseudo": target_pseudo,
        "floor": floor, "one_sided": one_sided, "alpha": alpha, "alpha_rate": RATE, "target_entropy": target_entropy,
        "polyak": TAU, "vae_rate": RATE, "actor_rate": RATE, "critic_rate": RATE, "hidden": [16, 12],
        "vae_hidden": [16, 12],
    }
    rec = Recorder(name, "mcq", config, act_limit=limit, rows=12)
    encoder, decoder, actor = net(OBS + ACT, 2 * LATENT), net(OBS + LATENT, ACT), net(OBS, 2 * ACT)
    with torch.no_grad():
        # The first ln σ lies on both sides of its bound.
        encoder[-1].bias[LATENT] = -4.0
        # Candidates that differ.
        decoder[0].weight[:, OBS:] *= 5
        decoder[-1].weight *= 5
    critics, targets = [nn.ModuleList([net(OBS + ACT, 1) for _ in range(2)]) for _ in range(2)]
    cross([*critics, *targets])
    ln_alpha = nn.Parameter(torch.tensor([math.log(alpha)]))
    rec.start({
        **layers("vae.encoder", [linears(encoder)]),
        **layers("vae.decoder", [linears(decoder)]),
        **layers("actor", [linears(actor)]),
        **layers("critic", [linears(q) for q in critics]),
        **layers("critic_target", [linears(q) for q in targets]),
        **plain("temperature.ln_alpha", ln_alpha),
    })
    vae_adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    alpha_adam = torch.optim.Adam([ln_alpha], lr=RATE)
    actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE)
    critic_adam = torch.optim.Adam(critics.parameters(), lr=RATE)
    entropy_wanted = -ACT if target_entropy is None else target_entropy

    def decode(s, z):
        return limit * torch.tanh(decoder(torch.cat([s, z], 1)))

    def sample(s):
        mu, log_std = actor(s).chunk(2, 1)
        std = log_std.clamp(-20, 2).exp()
        u = mu + std * rec.normal(len(s), ACT)
        jacobian = 2 * (math.log(2) - u - softplus(-2 * u))
        return limit * torch.tanh(u), (torch.distributions.Normal(mu, std).log_prob(u) - jacobian).sum(1, keepdim=True)

    def values(nets, s, a):
        """One column for each critic."""
        return torch.cat([q(torch.cat([s, a], 1)) for q in nets], 1)

    met = set()
    for _ in range(10):
        s, a, r, s2, d = rec.batch()
        rows = len(s)

        mean, log_std = encoder(torch.cat([s, a], 1)).chunk(2, 1)
        std = log_std.clamp(-4, 15).exp()
        recon = decode(s, mean + std * rec.normal(rows, LATENT))
        # Sums over dimensions, both.
        kl = torch.distributions.kl_divergence(torch.distributions.Normal(mean, std), torch.distributions.Normal(0.0, 1.0))
        vae_loss = ((recon - a) ** 2).sum(1).mean() + kl.sum(1).mean()
        rec.step(vae_adam, vae_loss)

        price = ln_alpha.exp().detach()
        with torch.no_grad():
            pi2, log_pi2 = sample(s2)
            y = r + GAMMA * (1 - d) * (values(targets, s2, pi2).amin(1, keepdim=True) - price * log_pi2)
        q = values(critics, s, a)
        bellman = ((q - y) ** 2).mean(0)
        unseen = []
        for x in (s, s2):
            with torch.no_grad():
                xn = x.repeat_interleave(n, 0)
                seen = values(targets if target_pseudo else critics, xn, decode(xn, rec.normal(rows * n, LATENT).clamp(-0.5, 0.5)))
                pseudo = seen.view(rows, n, 2).amax(1).amin(1)
                met |= {"other" for p in pseudo - seen.view(rows, n, 2).amin(2).amax(1) if p > 1e-2}
                if floor is not None:
                    met |= {"above" if p > floor else "below" for p in pseudo}
                    pseudo = pseudo.clamp(min=floor)
                xm = x.repeat_interleave(m, 0)
                tried, _ = sample(xm)
            excess = values(critics, xm, tried).view(rows, m, 2) - pseudo.view(rows, 1, 1)
            met |= {"over" if e > 0 else "under" for e in excess.flatten()}
            if one_sided:
                excess = excess.relu()
            unseen.append(excess**2)
        unseen = torch.cat(unseen).mean((0, 1))
        critic_loss = (weight * bellman + (1 - weight) * unseen).sum()
        rec.step(critic_adam, critic_loss)

        pi, log_pi = sample(s)
        rec.step(alpha_adam, -(ln_alpha * (log_pi + entropy_wanted).detach()).mean())
        actor_loss = (ln_alpha.exp().detach() * log_pi - values(critics, s, pi).amin(1, keepdim=True)).mean()
        rec.step(actor_adam, actor_loss)

        with torch.no_grad():
            for old, new in zip(targets.parameters(), critics.parameters()):
                old.lerp_(new, TAU)
        rec.report(vae_loss=vae_loss, critic_loss=critic_loss, actor_loss=actor_loss, q=q.mean())
        rec.report(entropy=-log_pi.mean(), ln_alpha=ln_alpha)
    # The smaller of the two best is not the best of the smaller.
    assert {"over", "under", "other"} <= met and (floor is None or {"above", "below"} <= met), met
    rec.save()


record("mcq")
record(
    "mcq-one-sided", limit=2.0, weight=0.5, n=4, m=1, target_pseudo=True, floor=-0.03, one_sided=True, alpha=0.2,
    target_entropy=-1.0,
)
