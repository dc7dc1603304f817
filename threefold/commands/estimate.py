"""`threefold estimate`: what a profile would cost."""

from threefold.commands import COMPUTE, PARAMS, Params

GROUP = COMPUTE


def command(params: Params = PARAMS) -> None:
    """Estimate how long a profile would take on this machine.

    Prints environment steps and hours, at rates that are measured for a moment now.
    """
    from threefold.cells.estimate import cost

    print(cost(params))
