"""Two steps of a roll-out in an ensemble: each row has a member of its own, and pays for what the model doubts about it, the
largest norm of any member's deviations (MOPO, arXiv:2005.13239). Forwards, and backwards as ROMI does (arXiv:2110.00188)."""

import numpy as np
import torch

from ensemble import ACT, OBS, Ensemble
from fixture import Recorder

STEPS, ROWS = 2, 24


def record(name, reverse):
    random = np.random.default_rng([2, *name.encode()])
    rec = Recorder(name, "rollout", None, rows=ROWS)
    members, weight = 4, 0.7
    model = Ensemble(random, members, [12, 10], [0.0, 0.0, 0.0], 0.01, reverse)
    rec.config = {
        "direction": "reverse" if reverse else "forward",
        "model": model.config(elites=3),
        "imagine": {"horizon": STEPS, "penalty_weight": weight},
    }
    rec.start(model.named())
    at = rec.batch()[0]
    steps = []
    for step in range(STEPS):
        rec.begin(step)
        a = rec.uniform(-1, 1, ROWS, ACT)
        member = rec.choice(members, ROWS)
        noise = rec.normal(ROWS, 1 + OBS)
        with torch.no_grad():
            means, log_vars = (torch.stack(x) for x in zip(*(model.predict(m, at, a) for m in range(members))))
            stds = torch.exp(log_vars / 2)
            penalty = stds.norm(dim=2).max(dim=0).values[:, None]
            row = torch.arange(ROWS)
            drawn = means[member, row] + stds[member, row] * noise
        reward, to = drawn[:, :1] - weight * penalty, at + drawn[:, 1:]
        # In forward time, wherever the model looks.
        s, s2 = (to, at) if reverse else (at, to)
        steps.append({"obs": s, "act": a, "reward": reward, "next_obs": s2, "penalty": penalty})
        at = to
    for column in steps[0]:
        rec.tensors[f"transitions/{column}"] = np.stack([step[column].numpy() for step in steps])
    model.write_rest(rec, ["params"])
    rec.save(trained=False)


record("rollout-forward", reverse=False)
record("rollout-reverse", reverse=True)
