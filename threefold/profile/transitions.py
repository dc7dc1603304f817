"""Whether a rollout has the transitions that learning from it needs."""

from typing import Any


def misfit(ppo: Any, episodes: int, minibatches: bool = True) -> tuple[str, str] | None:
    """Return the constant of PPO's that does not fit a rollout in so many parallel episodes, with fault and cure.

    A learner with `minibatches` needs a transition for each of them, any learner two for the spread of advantages. None
    if all is well.
    """
    transitions = ppo.steps * episodes
    if transitions < 2:
        return "steps", f"{ppo.steps}, but a rollout in 1 parallel episode needs 2 transitions; write more steps"
    if minibatches and ppo.minibatches > transitions:
        fault = f"{ppo.minibatches}, but a rollout of ppo.steps {ppo.steps} in {episodes} parallel episodes has"
        return "minibatches", f"{fault} {transitions} transitions; write fewer, or more steps"
    return None
