"""BCQ (arXiv:1812.02900), as ROMI uses it: a VAE of actions, a bounded perturbation, soft-clipped double Q."""

import torch
from torch import nn
from torch.nn.functional import mse_loss

from fixture import Recorder, layers

GAMMA, LAMBDA, PHI, KL, N, TAU, RATE = 0.99, 0.75, 0.05, 0.5, 10, 0.05, 1e-3
LIMIT, OBS, ACT, LATENT = 1.5, 3, 2, 4


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, outputs))


def linears(of):
    return [m for m in of if isinstance(m, nn.Linear)]


def decode(s, z):
    return LIMIT * torch.tanh(decoder(torch.cat([s, z], 1)))


def perturbed(xi, s, a):
    return (a + PHI * LIMIT * torch.tanh(xi(torch.cat([s, a], 1)))).clamp(-LIMIT, LIMIT)


config = {
    "gamma": GAMMA, "lambda": LAMBDA, "phi": PHI, "kl_weight": KL, "target_samples": N, "polyak": TAU,
    "vae_rate": RATE, "actor_rate": RATE, "critic_rate": RATE, "hidden": [16, 12], "vae_hidden": [16, 12],
}
rec = Recorder("bcq", "bcq", config, act_limit=LIMIT, rows=12)
encoder, decoder = net(OBS + ACT, 2 * LATENT), net(OBS + LATENT, ACT)
with torch.no_grad():
    # The first ln σ lies on both sides of its bound.
    encoder[-1].bias[LATENT] = -4.0
actor, actor_target = net(OBS + ACT, ACT), net(OBS + ACT, ACT)
critic, critic_target = [nn.ModuleList([net(OBS + ACT, 1) for _ in range(2)]) for _ in range(2)]
rec.start({
    **layers("vae.encoder", [linears(encoder)]),
    **layers("vae.decoder", [linears(decoder)]),
    **layers("actor", [linears(actor)]),
    **layers("critic", [linears(q) for q in critic]),
    **layers("actor_target", [linears(actor_target)]),
    **layers("critic_target", [linears(q) for q in critic_target]),
})
vae_adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
actor_adam = torch.optim.Adam(actor.parameters(), lr=RATE)
critic_adam = torch.optim.Adam(critic.parameters(), lr=RATE)

for _ in range(10):
    s, a, r, s2, d = rec.batch()
    rows = len(s)

    mean, log_std = encoder(torch.cat([s, a], 1)).chunk(2, 1)
    std = log_std.clamp(-4, 15).exp()
    recon = decode(s, mean + std * rec.normal(rows, LATENT))
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(mean, std), torch.distributions.Normal(0.0, 1.0))
    vae_loss = mse_loss(recon, a) + KL * kl.mean()
    rec.step(vae_adam, vae_loss)

    with torch.no_grad():
        # N consecutive rows for each state.
        s2n = s2.repeat_interleave(N, 0)
        a2 = perturbed(actor_target, s2n, decode(s2n, rec.normal(rows * N, LATENT).clamp(-0.5, 0.5)))
        q = torch.cat([q(torch.cat([s2n, a2], 1)) for q in critic_target], 1)
        q = LAMBDA * q.amin(1) + (1 - LAMBDA) * q.amax(1)
        y = r + GAMMA * (1 - d) * q.view(rows, N).amax(1, keepdim=True)
    q1, q2 = (q(torch.cat([s, a], 1)) for q in critic)
    critic_loss = mse_loss(q1, y) + mse_loss(q2, y)
    rec.step(critic_adam, critic_loss)

    proposal = decode(s, rec.normal(rows, LATENT).clamp(-0.5, 0.5))
    actor_loss = -critic[0](torch.cat([s, perturbed(actor, s, proposal)], 1)).mean()
    rec.step(actor_adam, actor_loss)

    with torch.no_grad():
        for target, online in [(critic_target, critic), (actor_target, actor)]:
            for old, new in zip(target.parameters(), online.parameters()):
                old.lerp_(new, TAU)
    rec.report(vae_loss=vae_loss, critic_loss=critic_loss, actor_loss=actor_loss, q=torch.cat([q1, q2]).mean())
rec.save()
