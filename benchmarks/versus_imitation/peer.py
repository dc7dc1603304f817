"""One GAIL learner of HumanCompatibleAI `imitation` 1.0.1; runs in the peer's own virtual environment.

The settings are `imitation`'s own tuned ones, read from the file its wheel ships
(on Hopper `imitation/scripts/config/tuned_hps/gail_seals_hopper_best_hp_eval.json`) and put together as its command
`python -m imitation.scripts.train_adversarial gail with gail_seals_hopper` does, with that command's 8 environments.
They were tuned on `seals/Hopper-v1`: fixed horizon, x position observed, their own expert, 10 M steps. There are no
tuned settings for Gymnasium's Hopper. Departures, all that there are:

* the task is `Hopper-v4`: the same MDP and 11 observations as `Hopper-v5`, which needs a newer Gymnasium, but for the
  healthy reward that version 4 also pays on the step of a fall (the returns here leave it out). Under one release of
  MuJoCo the two agree to the last bit; 2.3 and 4.0 differ in when a foot touches the ground, by a step of the physics;
* episodes end on a fall, so `allow_variable_horizon=True`;
* demonstrations come from a file, and their actions are clipped to the action space, as `imitation` records both its
  experts' and its learner's actions (unclipped ones would give the expert away); fewer than a batch are repeated;
* nothing is logged or saved during training, which is to the peer's advantage.

Prints one JSON line per measurement: training seconds (imports, set-up and evaluation excluded), env steps, and the
mean return of deterministic evaluation episodes (null with `--episodes 0`, which only measures speed).
"""

import argparse
import json
import tempfile
import time
from importlib.resources import files

import jsonpickle
import numpy as np
import torch
from imitation.algorithms.adversarial.gail import GAIL
from imitation.data.types import Transitions
from imitation.rewards.reward_nets import NormalizedRewardNet
from imitation.util import logger, util
from stable_baselines3.common.vec_env import VecEnv

TUNED = {"Hopper-v4": "hopper", "HalfCheetah-v4": "half_cheetah", "Ant-v4": "ant"}  # for which of the seals tasks
ENVIRONMENTS = 8  # imitation/scripts/ingredients/environment.py: num_vec
HEALTHY_REWARD = 1.0  # per step, Hopper


def load_demonstrations(path: str, venv: VecEnv, least: int) -> Transitions:
    """Read pairs from an .npz file with `obs` [N, O], `action` [N, A], `next_obs` [N, O], `terminal` [N].

    `imitation` refuses fewer pairs than `least`, its batch: fewer are repeated.
    """
    with np.load(path) as file:
        index = np.resize(np.arange(len(file["obs"])), max(least, len(file["obs"])))
        obs, action, next_obs, terminal = (file[name][index] for name in ("obs", "action", "next_obs", "terminal"))
    action = np.clip(action, venv.action_space.low, venv.action_space.high)
    return Transitions(obs, action, np.array([{}] * len(obs)), next_obs, terminal.astype(bool))


def make_trainer(task: str, demonstrations: str, seed: int, parallel: bool) -> GAIL:
    """Assemble the learner as `imitation.scripts.train_adversarial` does from the tuned file."""
    folder = files("imitation") / "scripts/config/tuned_hps"
    tuned = jsonpickle.decode((folder / f"gail_seals_{TUNED[task]}_best_hp_eval.json").read_text())
    rl, reward, policy = tuned["rl"], tuned["reward"], tuned["policy"]
    torch.manual_seed(seed)
    venv = util.make_vec_env(task, rng=np.random.default_rng(seed), n_envs=ENVIRONMENTS, parallel=parallel)
    net = reward["net_cls"](venv.observation_space, venv.action_space, **reward["net_kwargs"])
    learner = rl["rl_cls"](
        policy["policy_cls"],
        venv,
        policy_kwargs=policy["policy_kwargs"],
        n_steps=rl["batch_size"] // ENVIRONMENTS,
        seed=seed,
        device="cpu",
        **rl["rl_kwargs"],
    )
    return GAIL(
        venv=venv,
        demonstrations=load_demonstrations(demonstrations, venv, tuned["algorithm_kwargs"]["demo_batch_size"]),
        gen_algo=learner,
        reward_net=NormalizedRewardNet(net, reward["normalize_output_layer"]),
        custom_logger=logger.configure(tempfile.mkdtemp(), format_strs=[]),
        allow_variable_horizon=True,
        **tuned["algorithm_kwargs"],
    )


def evaluate(trainer: GAIL, venv: VecEnv) -> float:
    """Mean return of one deterministic episode in each environment of `venv`, by version 5's reward."""
    obs, alive, total = venv.reset(), np.ones(venv.num_envs, bool), np.zeros(venv.num_envs)
    while alive.any():
        action, _ = trainer.policy.predict(obs, deterministic=True)
        obs, reward, done, infos = venv.step(action)
        fallen = done & ~np.array([info["TimeLimit.truncated"] for info in infos])
        total += alive * (reward - HEALTHY_REWARD * fallen)
        alive &= ~done
    return float(total.mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("demonstrations", help=".npz with obs, action, next_obs, terminal")
    parser.add_argument("--task", choices=TUNED, default="Hopper-v4", help="another than Hopper: for its speed only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, required=True, help="stop after so many env steps")
    parser.add_argument("--limit-seconds", type=float, default=float("inf"), help="stop after so much training time")
    parser.add_argument("--target", type=float, default=float("inf"), help="stop at this mean return")
    parser.add_argument("--episodes", type=int, default=0, help="deterministic episodes per evaluation")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of 4,096 steps between measurements")
    parser.add_argument("--threads", type=int, default=1, help="torch's threads")
    parser.add_argument("--parallel", action="store_true", help="environments in processes of their own")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    trainer = make_trainer(options.task, options.demonstrations, options.seed, options.parallel)
    evaluation = options.episodes and util.make_vec_env(
        options.task, rng=np.random.default_rng([options.seed, 1]), n_envs=options.episodes
    )
    env_steps, seconds, episode_return = 0, 0.0, None
    while env_steps < options.steps and seconds < options.limit_seconds and (episode_return or 0) < options.target:
        started = time.perf_counter()
        trainer.train(options.rounds * trainer.gen_train_timesteps)
        seconds += time.perf_counter() - started
        env_steps = trainer.gen_algo.num_timesteps
        episode_return = evaluate(trainer, evaluation) if evaluation else None
        print(json.dumps({"seconds": seconds, "env_steps": env_steps, "episode_return": episode_return}), flush=True)
    trainer.venv.close()


if __name__ == "__main__":
    main()
