"""Train GAIL from a project of your own: three learners on InvertedPendulum-v5, each from four demonstrations.

pip install -e THREEFOLD; python train_gail.py THREEFOLD/data/demonstrations 40000
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

import envs
from algorithms import gail
from envs.episodes import play
from envs.monitor import Monitor
from threefold.experts import demonstrations

TASK, SEEDS = "InvertedPendulum-v5", [0, 1, 2]  # a seed is a learner; all of them train at once
data, steps = sys.argv[1:] if len(sys.argv) == 3 else sys.exit("usage: train_gail.py data/demonstrations STEPS")
torch.set_num_threads(1)  # the networks are small
env = Monitor(envs.make(TASK, SEEDS, episodes=4))  # four worlds for each learner; the method sees no reward
expert = demonstrations.load(Path(data) / TASK, TASK, counts=[4] * len(SEEDS))
for progress in gail.train(env, expert, SEEDS, gail.Config()):  # without end
    if returns := [episode_return for _, episode_return, _ in env.take_episodes()]:
        print(f"{progress.env_steps} steps: mean return {sum(returns) / len(returns):.1f} of {len(returns)} episodes")
    if progress.env_steps >= int(steps):  # of each learner
        break
played = play(envs.make(TASK, [1000 + seed for seed in SEEDS], episodes=10), progress.policy)  # its mean action
print("mean return of each learner:", played.episode_return.mean(1).tolist())
save_file(progress.policy.state_dict(), "policy.safetensors")  # GaussianPolicy.from_tensors(load_file(...))
