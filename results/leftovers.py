"""What lies in a folder of records and stands in none of its tables."""

from results.records import Store


def describe_unreadable(store: Store) -> list[str]:
    """Return a line for each file that cannot be read, or not in full."""
    shown = {run.folder for run in store.runs}
    return [
        f"{one.path}: {one.reason if one.path.parent in shown else f'left out, cannot be read: {one.reason}'}"
        for one in store.unreadable
    ]


def describe_unfinished(store: Store) -> list[str]:
    """Return a line for each unfinished run of whose recipe no run is finished."""
    recipes = {run.recipe for run in store.runs}
    lines = []
    for one in store.unfinished:
        if one.recipe not in recipes:
            reason = f": {one.reason}" if one.reason else ""
            lines.append(f"{one.folder}: {one.state}{reason}; in no table, as no run of {one.recipe} is finished")
    return lines
