"""Write every committed table, the README's tables among them, from the committed records; prints what changed.

`superinfo table --check` says whether there is anything to write.
"""

from results.committed import ROOT, write_committed
from results.publish import RECORDS
from results.records import read_store


def main() -> None:
    """Write what differs."""
    for path in write_committed(read_store(RECORDS)):
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
