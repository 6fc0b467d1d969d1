"""Behaviour cloning: a deterministic tanh policy, mean squared error."""

import torch
from torch import nn

from fixture import Recorder, layers

rec = Recorder("bc", "bc", {"hidden": [16, 12], "actor_rate": 1e-3}, act_limit=2.0)
sizes = [3, 16, 12, 2]
net = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
rec.start(layers("actor", [net]))
adam = torch.optim.Adam([p for layer in net for p in layer.parameters()], lr=1e-3)
for _ in range(10):
    s, a, *_ = rec.batch()
    x = torch.relu(net[1](torch.relu(net[0](s))))
    loss = nn.functional.mse_loss(2.0 * torch.tanh(net[2](x)), a)
    rec.report(actor_loss=loss)
    rec.step(adam, loss)
rec.save()
