"""GAIL and BC on InvertedPendulum-v5 from rendered frames: an extra that no profile has.

    python -m studies.visual.camera --out results/pendulum

An observation is a frame of 32 x 32 grey pixels, and by how much it differs from the frame before. Learners see nothing
else; a convolutional representation is trained with them, as on the grid worlds. The expert is that of data/experts,
played anew and drawn (frames.py). The reward of GAIL, -log(1 - D), pays for every step that the pole stands; the row
`constant`, which earns 1 a step and knows no expert, shows what that alone gives.

MuJoCo draws by OpenGL: without a screen by EGL (on Debian libegl1 and libgl1-mesa-dri), or by OSMesa (MUJOCO_GL=osmesa,
libosmesa6). A run that was stopped goes on from its last checkpoint, and a finished row is not learnt again.
"""

import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from pydantic import PositiveFloat
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

import envs
from algorithms.core.population import Generators, Linear, adam, descend
from algorithms.core.ppo import ReturnScale, generalized_advantages
from algorithms.core.state import State
from studies.visual.frames import PIXELS, TASK, Camera, Pairs, PixelEnv, Scale, demonstrate
from studies.visual.networks import Convolution
from threefold.base.files import write_json
from threefold.base.strict import Count, Seed, Strict
from threefold.store import code
from threefold.store.checkpoints import Checkpoints
from threefold.store.entries import Entry, location
from threefold.store.origin import origin
from threefold.tables.schema import Schema, read_csv, write_csv

ROWS = ("bc", "gail", "constant")
# One line per row and seed. steps: of the environment; episode_return: mean over episodes by the policy's mean actions,
# at most 1000; shortest: the least of them.
LEARNT: Schema = {"row": "str", "seed": "int64", "steps": "int64", "episode_return": "float64", "shortest": "float64"}


class Size(Strict):
    """How much is learnt, and constants."""

    seeds: list[Seed] = [0, 1, 2]
    iterations: Count = 80  # of GAIL
    steps: Count = 64  # of an iteration in each episode
    episodes: Count = 8  # in parallel
    demonstrations: Count = 4  # whole episodes
    demonstrated: Count = 1000  # steps of each
    cloning_steps: Count = 1000
    evaluated: Count = 5  # episodes
    rate: PositiveFloat = 1e-3  # of Adam, as the other falling to 0 in a straight line
    reward_rate: PositiveFloat = 3e-4
    reward_steps: Count = 8  # of an iteration
    batch: Count = 128  # pairs
    epochs: Count = 6
    clip: PositiveFloat = 0.2
    discount: PositiveFloat = 0.99
    gae: PositiveFloat = 0.95
    log_std: float = -1.0  # of the first actions, in units of half the action range
    max_norm: PositiveFloat = 0.5


class Frames(nn.Module):
    """The representation of two frames: two convolutions and a dense layer, `[P, N, 2, 32, 32] -> [P, N, 64]`."""

    def __init__(self, generators: Generators) -> None:
        super().__init__()
        self.first, self.second = Convolution(2, 16, generators), Convolution(16, 32, generators)
        self.dense = Linear(32 * (PIXELS // 4) ** 2, 64, generators)

    def forward(self, x: Tensor) -> Tensor:
        """Represent."""
        x = relu(self.second(relu(self.first(x.transpose(0, 1).flatten(1, 2)))))
        return relu(self.dense(x.unflatten(1, (len(self.first.weight), -1)).transpose(0, 1).flatten(2)))


class Actor(nn.Module):
    """A Gaussian policy and a value on one representation."""

    def __init__(self, generators: Generators, log_std: float) -> None:
        super().__init__()
        self.body = Frames(generators)
        self.mean, self.value = Linear(64, 1, generators, 0.01), Linear(64, 1, generators, 1.0)
        self.log_std = nn.Parameter(torch.full((len(generators), 1, 1), log_std))

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean actions and values `[P, N, 1]`."""
        features = self.body(seen)
        return self.mean(features), self.value(features)

    def log_density(self, mean: Tensor, action: Tensor) -> Tensor:
        """Return the log density `[P, N]`, less a constant."""
        return (-0.5 * ((action - mean) * (-self.log_std).exp()).square() - self.log_std)[..., 0]


class Discriminator(nn.Module):
    """A discriminator of frames and actions; its logit is high for the expert."""

    def __init__(self, generators: Generators) -> None:
        super().__init__()
        self.body, self.hidden = Frames(generators), Linear(65, 64, generators)
        self.logit = Linear(64, 1, generators, 1.0)

    def forward(self, seen: Tensor, action: Tensor) -> Tensor:
        """Return logits `[P, N]`."""
        return self.logit(relu(self.hidden(torch.cat([self.body(seen), action], -1))))[..., 0]


class Learner:
    """P learners of a row, and the env that they act in."""

    def __init__(self, row: str, size: Size, camera: Camera, scale: Scale, pairs: Pairs) -> None:
        weights, self.noise = Generators(size.seeds, "weights"), Generators(size.seeds, "noise")
        self.row, self.size, self.pairs = row, size, pairs
        self.env = envs.make(TASK, size.seeds, size.episodes, threads=1)
        self.pixels = PixelEnv(self.env, camera, scale)
        self.actor, self.discriminator = Actor(weights, size.log_std), Discriminator(weights)
        self.optimizer = adam(self.actor.parameters(), size.rate)
        self.reward_optimizer = adam(self.discriminator.parameters(), size.reward_rate)
        self.scale = ReturnScale(len(size.seeds), size.episodes, size.discount, torch.device("cpu"))
        self.done, self.last = 0, size.cloning_steps if row == "bc" else size.iterations
        self.seconds = 0.0  # of this core

    def state_dict(self) -> dict[str, Any]:
        """Return what goes on from one iteration to the next."""
        return self._state().state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go back to a saved state."""
        state = self._state()
        state.load_state_dict(saved)
        self.done, self.pixels.now, self.pixels.before = state.done, state.now, state.before
        self.pixels.camera.frames, self.seconds = state.frames, state.seconds

    def _state(self) -> State:
        return State(
            env=self.env,
            now=self.pixels.now,
            before=self.pixels.before,
            frames=self.pixels.camera.frames,
            actor=self.actor,
            discriminator=self.discriminator,
            optimizer=self.optimizer,
            reward_optimizer=self.reward_optimizer,
            scale=self.scale,
            noise=self.noise,
            done=self.done,
            seconds=self.seconds,
        )

    def expert(self) -> tuple[Tensor, Tensor]:
        """Return pairs drawn for each learner, `[P, batch, ...]`."""
        index = (self.noise.uniform(self.size.batch) * len(self.pairs.action)).long()
        return self.pairs.seen[index], self.pairs.action[index]

    def clone(self) -> None:
        """Take a step up the likelihood of the expert's actions."""
        seen, action = self.expert()
        mean, _ = self.actor(seen)
        descend(self.optimizer, -self.actor.log_density(mean, action).mean(1), self.size.max_norm)

    def imitate(self) -> None:
        """Act, then take steps on the discriminator and PPO's on the policy."""
        size = self.size
        with torch.no_grad():
            seen, action, following, terminal, truncated = self.act()
        flat, acted = seen.flatten(1, 2), action.flatten(1, 2)
        learner = torch.arange(len(flat))[:, None]
        if self.row == "gail":
            for _ in range(size.reward_steps):
                index = (self.noise.uniform(size.batch) * flat.shape[1]).long()
                loss = softplus(-self.discriminator(*self.expert())) + softplus(
                    self.discriminator(flat[learner, index], acted[learner, index])
                )
                descend(self.reward_optimizer, loss.mean(1), size.max_norm)
        with torch.no_grad():
            shape = terminal.shape
            logit = self.discriminator(flat, acted) if self.row == "gail" else torch.zeros(flat.shape[:2])
            reward = softplus(logit) if self.row == "gail" else torch.ones_like(logit)
            mean, value = self.actor(flat)
            old = self.actor.log_density(mean, acted)
            value, beyond = (x.view(shape) for x in (value, self.actor(following.flatten(1, 2))[1]))
            reward = self.scale(reward.view(shape), terminal | truncated)
            advantage = generalized_advantages(reward, value, beyond, terminal, truncated, size.discount, size.gae)
            target, advantage = (advantage + value).flatten(1), advantage.flatten(1)
            advantage = (advantage - advantage.mean(1, keepdim=True)) / (advantage.std(1, keepdim=True) + 1e-8)
        for order in self.noise.permutations(size.epochs, flat.shape[1]).unbind(1):
            for index in order.split(size.batch, 1):
                mean, value = self.actor(flat[learner, index])
                ratio = (self.actor.log_density(mean, acted[learner, index]) - old[learner, index]).exp()
                clipped, gain = ratio.clamp(1 - size.clip, 1 + size.clip), advantage[learner, index]
                error = (value[..., 0] - target[learner, index]).square().mean(1)
                loss = 0.5 * error - torch.minimum(ratio * gain, clipped * gain).mean(1)
                descend(self.optimizer, loss, size.max_norm)

    def act(self) -> list[Tensor]:
        """Return a rollout `[P, T, E, ...]`: what was seen, actions, what was seen next, terminal, truncated."""
        rows = []
        for noise in self.noise.normal(self.size.steps, self.size.episodes, 1).unbind(1):
            seen = self.pixels.seen()
            action = self.actor(seen)[0] + noise * self.actor.log_std.exp()
            rows.append((seen, action, *self.pixels.step(action)))
        return [torch.stack(column, 1) for column in zip(*rows, strict=True)]

    def iterate(self) -> None:
        """Do one iteration of the row's method."""
        began = time.process_time()
        for optimizer, rate in ((self.optimizer, self.size.rate), (self.reward_optimizer, self.size.reward_rate)):
            optimizer.param_groups[0]["lr"] = rate * (1 - self.done / self.last)
        self.clone() if self.row == "bc" else self.imitate()
        self.done += 1
        self.seconds += time.process_time() - began

    @torch.no_grad()
    def evaluate(self) -> Tensor:
        """Return the lengths `[P, episodes]`, which are the returns, of episodes by mean actions."""
        env = envs.make(TASK, self.size.seeds, self.size.evaluated, threads=1)
        pixels, length = PixelEnv(env, self.pixels.camera, self.pixels.scale), torch.zeros(env.P, env.E)
        alive = torch.ones(env.P, env.E, dtype=torch.bool)
        while alive.any():
            _, terminal, truncated = pixels.step(self.actor(pixels.seen())[0])
            length += alive
            alive &= ~(terminal | truncated)
        return length


def learn(row: str, size: Size, camera: Camera, checkpoints: Checkpoints) -> tuple[pd.DataFrame, dict[str, float]]:
    """Train a row's learners, from where they were interrupted; return lines of learnt.csv, and what it cost."""
    began = time.process_time()
    scale, pairs = demonstrate(size.demonstrations, size.demonstrated, camera, code.ROOT / "data" / "experts" / TASK)
    learner = Learner(row, size, camera, scale, pairs)
    checkpoints.restore({"learner": learner})
    learner.seconds += time.process_time() - began
    for _ in track(range(learner.done, learner.last), description=row, console=Console(stderr=True)):
        learner.iterate()
        checkpoints.offer(learner.done, lambda: {"learner": learner.state_dict()})
    cost = {"frames": camera.frames, "seconds": round(learner.seconds, 1)}
    length = learner.evaluate().double()
    steps = 0 if row == "bc" else learner.done * size.steps * size.episodes
    results = {"episode_return": length.mean(1), "shortest": length.amin(1)}
    return pd.DataFrame({"row": row, "seed": size.seeds, "steps": steps} | results), cost


def result(row: str, size: Size, camera: Camera) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return a row's lines and what it cost: learnt now, or found as it was finished before."""
    made_from = {"row": row, "size": size.model_dump(), "code": code.checksums("studies.visual.pendulum")}
    entry = Entry(location(code.ROOT), f"studies/visual/pendulum-{row}", made_from)
    with entry.locked():
        if not entry.finished():
            camera.frames = 0
            rows, cost = learn(row, size, camera, Checkpoints(entry.checkpoints / "cpu", entry.name))
            write_csv(rows, entry.result / "learnt.csv", LEARNT)
            entry.finish(origin() | {"cost": cost})
        return read_csv(entry.result / "learnt.csv", LEARNT), json.loads(entry.provenance())


def run(size: Size, out: Path) -> str:
    """Learn all rows, write learnt.csv and provenance.json to a folder, and return a table of both."""
    torch.set_num_threads(1)
    camera = Camera()
    results = {row: result(row, size, camera) for row in ROWS}
    write_csv(pd.concat(rows for rows, _ in results.values()), out / "learnt.csv", LEARNT)
    write_json({row: provenance for row, (_, provenance) in results.items()}, out / "provenance.json")
    lines = ["| Row | Steps of a seed | Frames | Core minutes | Return of each seed |", "|---|---|---|---|---|"]
    for row, (rows, provenance) in results.items():
        cost, returns = provenance["cost"], ", ".join(f"{x:.0f}" for x in rows["episode_return"])
        minutes = f"{cost['seconds'] / 60:.1f}"
        lines.append(f"| {row} | {rows['steps'].max():,} | {cost['frames']:,} | {minutes} | {returns} |")
    return "\n".join(lines)
