"""`threefold estimate`: what a profile would cost."""

from threefold.commands import PARAMS, Params


def command(params: Params = PARAMS) -> None:
    """Print cells, environment steps and hours that a profile would take on this device."""
    from threefold.cells.estimate import cost

    print(cost(params))
