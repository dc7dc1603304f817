"""The tree of another commit of the project, beside this one."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from threefold.base.errors import InputError
from threefold.store.code import PACKAGES
from threefold.store.origin import commit, git, run_git


def committed(root: Path) -> str:
    """Return the commit of a checkout; raises InputError if its code is not what that commit has."""
    head = commit(root)["commit"]
    if head is None:
        raise InputError(f"{root}: no checkout of the project with a commit; clone it with git")
    if changes := git(root, "status", "--porcelain", "--untracked-files=all", "--", *PACKAGES):
        first = changes.splitlines()[0].split(maxsplit=1)[1]
        raise InputError(f"{root / first}: not as committed; commit the code first")
    return head


@contextmanager
def worktree(root: Path, revision: str) -> Iterator[tuple[str, Path]]:
    """Yield a commit and its tree, in a temporary folder; files of data/ that git does not have are linked there."""
    found = git(root, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    if not found:
        raise InputError(f"{revision}: no commit of {root}; name one that `git log` shows")
    with tempfile.TemporaryDirectory(prefix="threefold-") as folder:
        tree = Path(folder) / "tree"
        git(root, "worktree", "prune")  # of those whose folder a killed run left to be cleared away
        if reason := _add(root, tree, found):
            raise InputError(
                f"{tree}: git cannot make a working tree of {revision} there: {reason}; mend that, or let TMPDIR name "
                "another folder"
            )
        try:
            for name in filter(None, (git(root, "ls-files", "-z", "--others", "--", "data") or "").split("\0")):
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).symlink_to(root / name)
            yield found, tree
        finally:
            git(root, "worktree", "remove", "--force", str(tree))


def _add(root: Path, tree: Path, found: str) -> str:
    """Make the tree of a commit; return why git could not, in a line, or nothing."""
    done = run_git(root, "worktree", "add", "--quiet", "--detach", str(tree), found)
    return "" if done.returncode == 0 else " ".join(done.stderr.split()) or f"exit {done.returncode}"
