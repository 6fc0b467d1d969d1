"""OSR (NeurIPS 2023): CQL whose policy, in a state a little beside the log, does what an inverse model says leads back; and OSR-v, whose
critics prefer that.

The order: while it is fitted, the inverse model; then the temperature, the policy, critics, targets. The inverse model rests before the other
losses know of it.
"""

import torch
from torch.distributions import Normal, kl_divergence

from conservative import ACT, OBS, RATE, Base, linears, net
from fixture import Recorder, layers

LATENT, KL = 4, 0.5


def record(
    name, limit=1.0, variant="osr", lam=0.5, beta=0.1, divergence="inverse_to_policy", at_perturbed=True, samples=3, warm_up=4,
    encode_action=True, slip=False, **cql,
):
    base = Base(limit=limit, **cql)
    config = {
        "variant": variant, "lambda": lam, "beta": beta, "divergence": divergence, "at_perturbed": at_perturbed,
        "samples": samples, "warm_up": warm_up, "cql": base.config(),
        "inverse": {
            "encoder_hidden": [10, 9], "decoder_hidden": [11], "latent": LATENT, "kl_weight": KL, "learning_rate": RATE,
            "encode_action": encode_action, "log_std_of_mean": slip,
        },
    }
    rec = Recorder(name, "osr", config, act_limit=limit)
    encoder = net(2 * OBS + ACT * encode_action, 2 * LATENT, (10, 9))
    decoder = net(2 * OBS + LATENT, 2 * ACT, (11,))
    with torch.no_grad():
        # One ln σ of z and one of the action on both sides of its bound.
        seen = torch.randn(500, 2 * OBS + ACT * encode_action)
        encoder[-1].bias[LATENT] -= 4.0 + encoder(seen)[:, LATENT].median()
        decoder[-1].bias[ACT] = 2.0
    rec.start({
        **base.named(),
        **layers("inverse.encoder", [linears(encoder)]),
        **layers("inverse.decoder", [linears(decoder)]),
    })
    base.start(rec)
    inverse_adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    met = set()

    def latent(*seen):
        mean, log_std = encoder(torch.cat(seen, 1)).chunk(2, 1)
        met.update("low" if x < -4 else "free" for x in log_std.flatten().tolist())
        return Normal(mean, log_std.clamp(-4, 15).exp())

    def action(s, s2, z):
        """Before its tanh."""
        mean, log_std = decoder(torch.cat([s, s2, z], 1)).chunk(2, 1)
        if slip:
            log_std = mean - 1
        met.update("high" if x > 2 else "free" for x in log_std.flatten().tolist())
        return Normal(mean, log_std.clamp(-5, 2).exp())

    for t in range(10):
        s, a, r, s2, d = batch = rec.batch()
        rows = len(s)
        if t < warm_up:
            z = latent(s, s2, a / limit) if encode_action else latent(s, s2)
            drawn = z.mean + z.stddev * rec.normal(rows, LATENT)
            u = action(s, s2, drawn)
            rebuilt = torch.tanh(u.mean + u.stddev * rec.normal(rows, ACT))
            loss = ((rebuilt - a / limit) ** 2).mean() + KL * kl_divergence(z, Normal(0.0, 1.0)).mean()
            rec.step(inverse_adam, loss)
            rec.report(inverse_loss=loss)
            base.actor_step(s)
            base.critic_step(batch)
            continue

        with torch.no_grad():
            beside = s + beta * rec.normal(rows, OBS)
            noise = rec.normal(rows, LATENT)
            if encode_action:
                z = noise.clamp(-0.5, 0.5)
            else:
                z = latent(beside, s2)
                z = z.mean + z.stddev * noise
            inverse = action(beside, s2, z)
        if variant == "osr":
            def held():
                pi = base.gaussian(beside)
                pair = (inverse, pi) if divergence == "inverse_to_policy" else (pi, inverse)
                apart = kl_divergence(*pair).mean()
                rec.report(kl=apart)
                return lam * apart

            base.actor_step(beside if at_perturbed else s, held)
            base.critic_step(batch)
        else:
            base.actor_step(s)
            with torch.no_grad():
                recovered = torch.tanh(inverse.mean + inverse.stddev * rec.normal(rows, ACT))
                uniform = rec.uniform(-1, 1, rows * samples, ACT).view(rows, samples, ACT)
                lowered = torch.cat([uniform, base.several(beside, samples)[0]], 1)

            def pressed():
                high = base.values(base.critics, beside, lowered).logsumexp(2)
                gap = (high - base.values(base.critics, beside, recovered)).mean(1)
                rec.report(gap_beside=gap.mean())
                return lam * gap.sum()

            base.critic_step(batch, pressed)
    assert {"low", "free"} <= met and (slip or "high" in met), met
    rec.save()


record("osr")
# Every switch as in the released code, on critics that are SAC's.
record(
    "osr-released", limit=2.0, lam=0.05, divergence="policy_to_inverse", at_perturbed=False, warm_up=3, encode_action=False, slip=True,
    weight=0.0, n=0, critics=4, entropy_backup=True,
)
record("osr-v", limit=2.0, variant="osr_v", lam=0.7, warm_up=2, n=3)
